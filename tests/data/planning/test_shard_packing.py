"""Shards hold rows of one model each, and those of a model follow each other."""

import random
from itertools import groupby

from imagemill.data.planning.shard_packing import ShardPacker


def test_groups_fill_a_shard_up_to_its_size_and_are_never_cut():
    packer = ShardPacker(4)
    assert [packer.place("generate", rows) for rows in (2, 2, 1, 9, 3, 1)] == [0, 0, 1, 2, 3, 3]


def test_each_shard_has_rows_of_one_model():
    packer = ShardPacker(2)
    placed = [(step, packer.place(step, 1)) for step in "abababac"]
    assert placed == [("a", 0), ("b", 1), ("a", 0), ("b", 1), ("a", 2), ("b", 3), ("a", 2), ("c", 4)]


def test_shards_of_one_model_follow_each_other_in_the_order_of_the_steps():
    packer, choice = ShardPacker(3), random.Random(0)
    for _ in range(200):
        packer.place(choice.choice("abc"), choice.randint(1, 3))
    order = packer.order(["b", "c", "a"])
    assert sorted(order) == list(range(len(packer.steps)))
    steps = [step for _, step in sorted(zip(order, packer.steps))]
    assert [step for step, _ in groupby(steps)] == ["b", "c", "a"]
    numbers = [order[shard] for shard, step in enumerate(packer.steps) if step == "a"]
    assert numbers == sorted(numbers)
