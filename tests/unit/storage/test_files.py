"""Files are whole or not there, whoever else writes them at the same time."""

import os

import pytest

from tesp.storage.files import written_beside


def test_what_stood_there_stays_until_the_new_file_is_whole(tmp_path):
    path = tmp_path / "deep" / "table.csv"
    for text in ("first", "second"):
        with written_beside(path) as beside:
            assert (beside.parent, beside.suffix, beside.name[0]) == (path.parent, ".csv", ".")
            beside.write_text(text)
            assert not path.exists() or path.read_text() == "first"
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["table.csv"]


def _stop_halfway(path, error):
    with written_beside(path) as beside:
        beside.write_text("half")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_error_leaves_nothing_new(tmp_path, error):
    path = tmp_path / "table.csv"
    path.write_text("earlier")
    with pytest.raises(error):
        _stop_halfway(path, error)
    assert os.listdir(tmp_path) == ["table.csv"]
    assert path.read_text() == "earlier"


def test_two_writers_do_not_meet(tmp_path):
    """Also where their names differ in the ending alone, or they are of one process."""
    paths = [tmp_path / name for name in ("a.csv", "a.csv", "a.md")]
    with written_beside(paths[0]) as one, written_beside(paths[1]) as two, written_beside(paths[2]) as three:
        for number, beside in enumerate((one, two, three)):
            beside.write_text(str(number))
        assert [beside.read_text() for beside in (one, two, three)] == ["0", "1", "2"]
    assert paths[0].read_text() == "0"
    assert paths[2].read_text() == "2"
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "a.md"]
