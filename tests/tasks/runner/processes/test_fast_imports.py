"""The garbage collector is off while a command imports, and on again whatever happens."""

import gc

import pytest

from imagemill.tasks.runner.processes.fast_imports import fast_imports


def test_the_collector_is_off_in_the_block_and_on_after_it():
    with fast_imports():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_collector_is_on_again_after_an_import_that_fails():
    with pytest.raises(ImportError), fast_imports():
        raise ImportError
    assert gc.isenabled()


def test_an_inner_block_leaves_the_collector_off_for_the_outer_one():
    with fast_imports():
        with fast_imports():
            pass
        assert not gc.isenabled()
