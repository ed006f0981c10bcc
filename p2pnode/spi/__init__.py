"""What a transport may know of p2pnode: interfaces, a conformance kit, and a bridge to asyncio."""
