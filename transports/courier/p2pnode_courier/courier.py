"""The courier: puts parcels into folders as bundles, and takes them from there."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b

import trio

from p2pnode.errors import InvalidInput
from p2pnode.spi.transport import Check, Courier, Deposit, Parcel
from p2pnode_courier import folder
from p2pnode_courier.bundle import MAX_BUNDLE, Contents, check, encode, fill, read_untrusted
from p2pnode_courier.diagnosis import diagnose
from p2pnode_courier.failures import CourierFull, told
from p2pnode_courier.folder import MAX_FILES, Entry, Listing
from p2pnode_courier.known import KEY, Known
from p2pnode_courier.settings import CourierSettings, usable


@dataclass(slots=True)
class Counts:
    """What a look into a place has come across.

    read: files read; parcels: whole parcels in them; skipped: files passed over as taken before;
    damaged: files with spoilt parts; foreign: files that look like bundles and hold no whole
    parcel, or cannot be read; left: files beyond what one look may read; swept: partial files
    removed.
    """

    read: int = 0
    parcels: int = 0
    skipped: int = 0
    damaged: int = 0
    foreign: int = 0
    left: int = 0
    swept: int = 0


class FolderCourier(Courier):
    """Envelopes as files in any folder: a stick, a card, a folder other programs synchronise.

    A place is the absolute path of a folder. `counts` tells of the look begun last. Errors:
    InvalidInput (no such folder), Denied, CourierFull, StoreError (the medium fails).
    """

    name = "courier"
    settings_type = CourierSettings

    def __init__(self, settings: CourierSettings) -> None:
        super().__init__(settings)
        self.counts = Counts()
        self._max_size = settings.max_size
        self.watched = settings.watch
        self._known = Known()
        self._changing = trio.Lock()

    async def put(self, place: str, parcels: Sequence[Parcel]) -> Deposit:
        """Write the parcels the place does not hold yet, the first ones first.

        One it holds at a higher age is written again, so that nobody can age an envelope by
        putting it there first. `max_size` ends the deposit early, without an error. Removes what
        broken-off deposits left. Raises ValueError for parcels no bundle can hold.
        """
        async with self._changing:
            wanted = await trio.to_thread.run_sync(_wanted, parcels)
            listing, counts = await self._look(place)
            if listing.partials:
                with _telling():
                    counts.swept = await trio.to_thread.run_sync(folder.sweep, place, listing)
            await self._drop_held(place, listing, wanted, counts)
            return await self._write(place, listing, list(wanted.values()))

    async def take(self, place: str, *, fresh: bool = False) -> AsyncIterator[Parcel]:
        """Yield every whole parcel found in a place, and remove nothing.

        fresh: pass over files this process has taken to their end or written itself. A look reads
        MAX_FILES at most; what is left comes with the next fresh one. An envelope that two nodes
        put there at once comes twice.
        """
        listing, counts = await self._look(place)
        todo = [one for one in listing.bundles if not (fresh and self._known.took(place, one))]
        counts.skipped = len(listing.bundles) - len(todo)
        counts.left = max(0, len(todo) - MAX_FILES)
        for entry in todo[:MAX_FILES]:
            for parcel in (await self._contents(place, entry, counts)).parcels:
                yield parcel
            self._known.taken(place, entry)

    async def diagnose(self) -> list[Check]:
        """Look at the watched folders."""
        look = partial(diagnose, self.watched, self._max_size)
        return await trio.to_thread.run_sync(look, abandon_on_cancel=True)

    async def _look(self, place: str) -> tuple[Listing, Counts]:
        if not usable(place):
            raise InvalidInput("a place is the absolute path of a folder")
        with _telling():
            listing = await trio.to_thread.run_sync(folder.listed, place, abandon_on_cancel=True)
        self.counts = Counts(foreign=listing.foreign)
        return listing, self.counts

    async def _contents(self, place: str, entry: Entry, counts: Counts) -> Contents:
        """Read one file; whatever is wrong with it is counted."""
        found, lines = await trio.to_thread.run_sync(_read, place, entry, abandon_on_cancel=True)
        counts.read += 1
        counts.parcels += len(found.parcels)
        if not found.parcels:
            counts.foreign += 1
        elif found.damaged:
            counts.damaged += 1
        self._known.held(place, entry, lines)
        return found

    async def _drop_held(
        self, place: str, listing: Listing, wanted: dict[bytes, Parcel], counts: Counts
    ) -> None:
        """Take out of `wanted` what the place holds already, at the same age or a lower one."""
        for entry in listing.bundles[:MAX_FILES]:
            if not wanted:
                return
            if self._known.holds(place, entry) is None:
                await self._contents(place, entry, counts)
            else:
                await trio.lowlevel.checkpoint()
            for key, age in self._known.holds(place, entry) or ():
                if key in wanted and age <= wanted[key].age:
                    del wanted[key]

    async def _write(self, place: str, listing: Listing, parcels: list[Parcel]) -> Deposit:
        done = Deposit(0, 0)
        files, size, stems = len(listing.bundles), listing.size, set(listing.stems)
        while parcels:
            room = max(0, self._max_size - size) if self._max_size else MAX_BUNDLE
            some = fill(parcels, room)
            if not some:
                break
            if files >= MAX_FILES:
                raise CourierFull(f"a folder holds at most {MAX_FILES} of our files", done)
            with _telling(done):
                entry = await trio.to_thread.run_sync(_store, place, some, stems)
            self._known.taken(place, entry)
            stems.add(folder.stem(entry.name))
            files, size = files + 1, size + entry.size
            envelopes = sum(len(parcel.envelope) for parcel in some)
            done = Deposit(done.envelopes + len(some), done.size + envelopes)
            parcels = parcels[len(some) :]
        return done


def _wanted(parcels: Sequence[Parcel]) -> dict[bytes, Parcel]:
    """Return each envelope once, at its lowest age, by key and in order."""
    wanted: dict[bytes, Parcel] = {}
    for parcel in parcels:
        check(parcel)
        key = _key(parcel)
        if key not in wanted or parcel.age < wanted[key].age:
            wanted[key] = parcel
    return wanted


def _read(place: str, entry: Entry) -> tuple[Contents, list[tuple[bytes, int]]]:
    try:
        raw = folder.read(place, entry)
    except OSError:
        raw = None
    found = Contents((), 1) if raw is None else read_untrusted(raw)
    return found, [(_key(one), one.age) for one in found.parcels]


def _store(place: str, parcels: Sequence[Parcel], stems: set[str]) -> Entry:
    return folder.write(place, encode(parcels), stems)


def _key(parcel: Parcel) -> bytes:
    return blake2b(parcel.envelope, digest_size=KEY).digest()


@contextmanager
def _telling(deposit: Deposit | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        raise told(failure, deposit) from None
