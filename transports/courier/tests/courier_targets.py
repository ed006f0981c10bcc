"""What the fuzzer attacks here: files on sticks that somebody else wrote."""

from p2pnode_courier import bundle

from tests.fuzz.fuzz import Prepared, Target


def _bundles() -> Prepared:
    parcels = [bundle.Parcel(bytes((n,)) * size, n) for n, size in enumerate(bundle.SLOTS)]
    whole = [bundle.encode(parcels[:count]) for count in range(4)]

    def read(raw: bytes) -> None:
        found = bundle.read_untrusted(raw)
        for parcel in found.parcels:
            bundle.check(parcel)

    return [*whole, whole[1][:5_000], whole[1] + bytes(9)], read


def _bundle_records() -> Prepared:
    samples, _ = _bundles()
    return samples, bundle.record_untrusted


TARGETS = [
    Target("courier.bundle", _bundles, most=1_200_000),
    Target("courier.record", _bundle_records),
]
