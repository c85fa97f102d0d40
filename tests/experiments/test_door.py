"""Files that cannot be written: named as the user named them, before the work where that can be known. What is read."""

import pytest

from dsegym.costmodels.errors import CorruptResultError, DsegymError
from dsegym.experiments.door import check_once, check_row, check_writable, check_writable_folder, write_by_rename


def test_a_file_that_cannot_be_written_is_named_as_it_was_asked_for(tmp_path):
    path = tmp_path / "nowhere" / "a.json"
    with pytest.raises(FileNotFoundError) as caught:
        write_by_rename(path, b"{}")
    assert caught.value.filename == str(path)


def test_a_folder_in_a_files_place_is_named_and_nothing_is_left_behind(tmp_path):
    path = tmp_path / "a.json"
    path.mkdir()
    with pytest.raises(OSError, match=r"a\.json") as caught:
        write_by_rename(path, b"{}")
    assert caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_found_before_the_work(tmp_path):
    check_writable(tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DsegymError, match=r"cannot be written: there is no folder '.*nowhere'"):
        check_writable(tmp_path / "nowhere" / "a.json")


def test_a_folder_in_a_files_place_and_a_name_that_is_too_long_are_found_before_the_work(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(DsegymError, match=r"a\.json' cannot be written: it is a folder\.$"):
        check_writable(tmp_path / "a.json")
    with pytest.raises(DsegymError, match=r"cannot be written: File name too long\.$"):
        check_writable(tmp_path / f"{'a' * 240}.json")
    (tmp_path / "link.json").symlink_to(tmp_path / "a.json")
    check_writable(tmp_path / "link.json")
    write_by_rename(tmp_path / "link.json", b"{}")
    assert (tmp_path / "a.json").is_dir()


def test_a_folder_that_cannot_be_made_is_found_before_the_work_and_one_that_can_is_not_made(tmp_path):
    check_writable_folder(tmp_path)
    check_writable_folder(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(DsegymError, match=r"'.*file.below' cannot be written: Not a directory"):
        check_writable_folder(tmp_path / "file" / "below")


def test_a_row_of_another_length_or_shape_is_refused():
    shape = {"name": str, "count": int}
    check_row("thing", ["a", 1], shape)
    with pytest.raises(CorruptResultError, match="a thing has 1 member, where 2 are needed"):
        check_row("thing", ["a"], shape)
    with pytest.raises(CorruptResultError, match="its things: 'count' is missing or of the wrong type"):
        check_row("thing", ["a", "b"], shape)


def test_what_stands_in_a_file_twice_is_named():
    check_once("has the thing", ["a", "b"])
    with pytest.raises(ValueError, match="it has the thing b twice"):
        check_once("has the thing", iter(["a", "b", "b"]))
