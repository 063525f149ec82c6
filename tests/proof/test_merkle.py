"""The tree against a naive implementation of RFC 6962, and its proofs against falsification."""

import hashlib

import pytest

from app.proof.merkle import (
    Frontier,
    InvalidProof,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_from_inclusion,
    roots_from_consistency,
)

CONTENTS = [b"", b"\x00", b"\x10", b"\x20\x21", b"\x30\x31", b"@ABC", b"PQRSTUVW", b"`abcdefghijklmno"]
LEAVES = [leaf_hash(bytes([n])) for n in range(70)]
SIZES = (1, 2, 3, 4, 5, 7, 8, 13, 16, 33, 64, 70)


def root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256().digest()
    middle = 1
    while middle * 2 < len(leaves):
        middle *= 2
    return hashlib.sha256(b"\x01" + root(leaves[:middle]) + root(leaves[middle:])).digest()


def root_of(start: int, end: int) -> bytes:
    return root(LEAVES[start:end])


def test_known_roots() -> None:
    """The test vectors of Certificate Transparency."""
    known = {
        0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    for size, expected in known.items():
        tree = Frontier()
        for content in CONTENTS[:size]:
            tree.append(leaf_hash(content))
        assert tree.root.hex() == expected


def test_a_frontier_is_restored() -> None:
    tree = Frontier()
    for size, leaf in enumerate(LEAVES):
        assert (tree.size, tree.root) == (size, root(LEAVES[:size]))
        tree = Frontier(tree.size, tree.packed)
        tree.append(leaf)
    with pytest.raises(ValueError, match="frontier"):
        Frontier(tree.size + 1, tree.packed)


@pytest.mark.parametrize("size", SIZES)
def test_inclusion(size: int) -> None:
    expected = root_of(0, size)
    for index in range(size):
        proof = inclusion_proof(root_of, index, size)
        assert root_from_inclusion(LEAVES[index], index, size, proof) == expected
        assert root_from_inclusion(LEAVES[69 - index], index, size, proof) != expected or index == 69 - index
        assert no_root(LEAVES[index], index, size, [*proof, LEAVES[0]])
        if proof:
            assert no_root(LEAVES[index], index, size, proof[:-1])
    assert no_root(LEAVES[0], size, size, [])
    assert no_root(LEAVES[0], -1, size, [])


def no_root(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bool:
    try:
        root_from_inclusion(leaf, index, size, proof)
    except InvalidProof:
        return True
    return False


@pytest.mark.parametrize("size", SIZES[1:])
def test_consistency(size: int) -> None:
    for old_size in range(1, size):
        proof = consistency_proof(root_of, old_size, size)
        roots = root_of(0, old_size), root_of(0, size)
        assert roots_from_consistency(roots[0], old_size, size, proof) == roots
        for wrong in ([*proof, LEAVES[0]], proof[:-1], []):
            with pytest.raises(InvalidProof):
                roots_from_consistency(roots[0], old_size, size, wrong)
        for place in range(len(proof)):
            changed = [*proof[:place], leaf_hash(b"foreign"), *proof[place + 1 :]]
            assert roots_from_consistency(roots[0], old_size, size, changed) != roots
    with pytest.raises(InvalidProof):
        roots_from_consistency(root_of(0, size), size, size, [])
