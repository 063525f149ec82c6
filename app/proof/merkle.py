"""The Merkle tree of RFC 6962 over SHA-256: appending, roots, inclusion proofs and consistency proofs."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Self

HASH_BYTES = 32

RootOf = Callable[[int, int], bytes]
"""The root of the leaves from the first position up to, but without, the second."""


class InvalidProof(Exception):
    """A proof does not have the shape that its tree has."""


def leaf_hash(content: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree that can grow: the roots of the perfect subtrees that it consists of, the largest first."""

    def __init__(self, size: int = 0, packed: bytes = b"") -> None:
        """Restore a tree of `size` leaves from `packed`; raises ValueError if the length does not match."""
        if len(packed) != HASH_BYTES * size.bit_count():
            raise ValueError(f"A tree of {size} leaves does not have this frontier.")
        self.size = size
        self._nodes = [packed[start : start + HASH_BYTES] for start in range(0, len(packed), HASH_BYTES)]

    def copy(self) -> Self:
        return type(self)(self.size, self.packed)

    @property
    def packed(self) -> bytes:
        return b"".join(self._nodes)

    @property
    def root(self) -> bytes:
        if not self._nodes:
            return hashlib.sha256().digest()
        *lefts, root = self._nodes
        for left in reversed(lefts):
            root = node_hash(left, root)
        return root

    def append(self, leaf: bytes) -> None:
        complete = self.size
        while complete & 1:
            leaf = node_hash(self._nodes.pop(), leaf)
            complete >>= 1
        self._nodes.append(leaf)
        self.size += 1


def inclusion_proof(root_of: RootOf, index: int, size: int) -> list[bytes]:
    """The audit path of a leaf (RFC 6962, 2.1.1)."""

    def path(start: int, end: int) -> Iterator[bytes]:
        if end - start == 1:
            return
        middle = start + _split(end - start)
        if index < middle:
            yield from path(start, middle)
            yield root_of(middle, end)
        else:
            yield from path(middle, end)
            yield root_of(start, middle)

    return list(path(0, size))


def consistency_proof(root_of: RootOf, old_size: int, size: int) -> list[bytes]:
    """The proof that a tree continues a smaller one (RFC 6962, 2.1.2)."""

    def path(start: int, end: int, *, is_known: bool) -> Iterator[bytes]:
        if end == old_size:
            if not is_known:
                yield root_of(start, end)
            return
        middle = start + _split(end - start)
        if old_size <= middle:
            yield from path(start, middle, is_known=is_known)
            yield root_of(middle, end)
        else:
            yield from path(middle, end, is_known=False)
            yield root_of(start, middle)

    return list(path(0, size, is_known=True)) if 0 < old_size < size else []


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that a leaf has according to its audit path (RFC 9162, 2.1.3.2); raises InvalidProof."""
    if not 0 <= index < size:
        raise InvalidProof("The leaf is not in the tree.")
    position, last, root = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise InvalidProof("The proof is too long.")
        if position & 1 or position == last:
            root = node_hash(sibling, root)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise InvalidProof("The proof is too short.")
    return root


def roots_from_consistency(old_root: bytes, old_size: int, size: int, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The old and the new root according to a consistency proof (RFC 9162, 2.1.4.2); raises InvalidProof."""
    if not 0 < old_size < size:
        raise InvalidProof("The tree has not grown.")
    # A perfect old tree is a node of the new one, so the proof leaves it out.
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not path:
        raise InvalidProof("The proof is too short.")
    position, last = old_size - 1, size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise InvalidProof("The proof is too long.")
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise InvalidProof("The proof is too short.")
    return old, new


def _split(count: int) -> int:
    """The number of leaves of the left subtree: the largest power of two below the count."""
    return 1 << ((count - 1).bit_length() - 1)
