"""The worklist's record of finished rows."""

from imagemill.data.planning.worklist import Worklist


def test_a_row_in_two_files_is_removed_from_the_second(tmp_path):
    with Worklist.create(tmp_path / "plan.sqlite") as worklist:
        worklist.add_finished("a", ["one", "two"], ["1", "2"])
        worklist.add_finished("b", ["two", "one", "three"], ["2", "1", "3"])
        worklist.index_finished()
        assert worklist.mark_wanted(["two", "three", "never finished"]) == {"two", "three"}
        assert worklist.unwanted(keep_removed=False) == {"a": {"one"}, "b": {"one", "two"}}
        assert worklist.count_unwanted(keep_removed=False) == 3


def test_shards_are_renumbered_with_their_rows_and_images(tmp_path):
    with Worklist.create(tmp_path / "plan.sqlite") as worklist:
        database = worklist._db
        database.executemany("INSERT INTO items (shard, item) VALUES (?, '{}')", [(0,), (1,), (2,), (1,)])
        database.executemany("INSERT INTO drawings (key, shard, model) VALUES (?, ?, 'm')", [("a", 0), ("b", 2)])
        worklist.renumber_shards([2, 0, 1])
        assert [shard for (shard,) in database.execute("SELECT shard FROM items ORDER BY number")] == [2, 0, 1, 0]
        assert (worklist.shard_of("a"), worklist.shard_of("b")) == (2, 1)
