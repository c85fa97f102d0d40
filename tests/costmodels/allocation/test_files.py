"""Tables of buffers: what is read, and what is refused with the file, the line and the reason."""

import pytest

from dsegym.costmodels.allocation.instance import MAX_BUFFERS, MAX_BYTES, load_instance
from dsegym.costmodels.errors import InvalidWorkloadError

GOOD = "id,lower,upper,size\na,0,4,8\nb,2,6,4\n"


@pytest.fixture
def load(tmp_path):
    def write_and_load(text, name="table.64.csv", **options):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return load_instance(path, **options)

    return write_and_load


def intervals(instance):
    return [(buffer.id, buffer.lower, buffer.upper, buffer.size) for buffer in instance.buffers]


def test_a_table_is_read_as_it_stands(load):
    instance = load("# from here\n" + GOOD)
    assert intervals(instance) == [("a", 0, 4, 8), ("b", 2, 6, 4)]
    assert (instance.name, instance.capacity, instance.unit, instance.source) == ("table.64", 64, 4, "from here")
    assert instance.offsets is None


def test_the_older_header_has_inclusive_ends(load):
    assert intervals(load("id,start,end,size\na,0,3,8\nb,2,5,4\n")) == intervals(load(GOOD))
    assert intervals(load("id,start,end,size\na,3,3,8\n")) == [("a", 3, 4, 8)]


def test_columns_may_stand_in_any_order_and_lines_end_in_any_way(load):
    assert intervals(load("\ufeffsize, id,upper,lower\r\n8,a,4,0\r\n\r\n4, b ,6,2")) == intervals(load(GOOD))


def test_the_capacity_is_the_file_names_or_the_given_one(load):
    assert load(GOOD, "x.y.1048576.csv").capacity == 1_048_576
    assert load(GOOD, "plain.csv", capacity=100).capacity == 100
    assert load(GOOD, "table.64.csv", capacity=100).capacity == 100


def test_columns_that_ask_for_nothing_are_read(load):
    text = "id,lower,upper,size,alignment,hint,gaps\na,0,4,8,1,,\nb,2,6,4,,,\n"
    assert intervals(load(text)) == intervals(load(GOOD))


def test_the_offsets_of_a_solution_are_kept(load):
    assert load("id,lower,upper,size,offset\na,0,4,8,0\nb,2,6,4,8\n").offsets == (0, 8)


BAD_LINES = {
    "x,0,4,nan": "line 4: size = 'nan' is not a whole number",
    "x,0,4,NaN": "size = 'NaN'",
    "x,0,4,inf": "size = 'inf'",
    "x,0,4,1.5": "size = '1.5'",
    "x,0,4,-8": "size = '-8' is not a whole number from 1",
    "x,0,4,0": "size = '0'",
    "x,0,4,": "size = ''",
    "x,nan,4,8": "lower = 'nan'",
    "x,0,,8": "upper = ''",
    "x,4,4,8": "lower = 4 must be below upper = 4",
    "x,5,4,8": "lower = 5 must be below upper = 4",
    "x,0,4,65": "size = 65 is larger than the capacity 64",
    "a,0,4,8": "id 'a' stands in line 2 already",
    ",0,4,8": "the buffer has no id",
    "x,0,4": "3 cells where the header has 4",
    "x,0,4,8,9": "5 cells where the header has 4",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_wrong_line_is_refused_with_file_line_and_reason(load, line):
    with pytest.raises(InvalidWorkloadError) as caught:
        load(f"{GOOD}{line}\n")
    assert BAD_LINES[line] in str(caught.value)
    assert "table.64.csv', line 4" in str(caught.value)


BAD_OPTIONS = {
    "alignment": ("16", "alignment is not supported"),
    "hint": ("0", "preferred offsets are not supported"),
    "gaps": ("1-2", "buffers that are not live all the time are not supported"),
}


@pytest.mark.parametrize("column", BAD_OPTIONS)
def test_what_is_not_supported_is_refused(load, column):
    value, reason = BAD_OPTIONS[column]
    with pytest.raises(InvalidWorkloadError, match=f"line 2: {column} = '{value}': {reason}"):
        load(f"id,lower,upper,size,{column}\na,0,4,8,{value}\n")


@pytest.mark.parametrize(("value", "good"), [("1e0", True), ("+1", True), ("01", True), ("0", False), ("one", False)])
def test_an_alignment_of_one_is_one_however_it_is_written(load, value, good):
    text = f"id,lower,upper,size,alignment\na,0,4,8,{value}\n"
    if good:
        assert load(text).buffers[0].size == 8
    else:
        with pytest.raises(InvalidWorkloadError, match=f"alignment = '{value}': alignment is not supported"):
            load(text)


BAD_HEADERS = {
    "id,lower,upper": "needs id, size and either",
    "id,lower,end,size": "needs id, size and either",
    "id,lower,upper,start,end,size": "needs id, size and either",
    "lower,upper,size": "needs id, size and either",
    "id,lower,upper,size,bytes": "unknown column 'bytes'",
    "id,lower,upper,size,size": "column 'size' stands there twice",
}


@pytest.mark.parametrize("header", BAD_HEADERS)
def test_a_wrong_header_is_refused(load, header):
    with pytest.raises(InvalidWorkloadError, match=BAD_HEADERS[header]):
        load(f"{header}\na,0,4,8\n")


def test_files_that_are_no_tables_are_refused(load, tmp_path):
    with pytest.raises(InvalidWorkloadError, match="needs a header line and at least one buffer"):
        load("id,lower,upper,size\n")
    with pytest.raises(InvalidWorkloadError, match="the file is empty"):
        load("")
    with pytest.raises(InvalidWorkloadError, match="there is no such file"):
        load_instance(tmp_path / "none.12.csv")
    (tmp_path / "binary.12.csv").write_bytes(b"id\xff\xfe\x00")
    with pytest.raises(InvalidWorkloadError, match="line 1 is not UTF-8"):
        load_instance(tmp_path / "binary.12.csv")


def test_a_capacity_that_is_missing_zero_or_too_large_is_refused(load):
    for name in ("plain.csv", "table.1e6.csv", "table.-5.csv"):
        with pytest.raises(InvalidWorkloadError, match=r"name the file NAME\.CAPACITY\.csv"):
            load(GOOD, name)
    for capacity in (0, MAX_BYTES + 1):
        with pytest.raises(InvalidWorkloadError, match=f"capacity = {capacity} is not a whole number"):
            load(GOOD, f"table.{capacity}.csv")


def test_sizes_that_the_models_integers_do_not_hold_are_refused(load):
    with pytest.raises(InvalidWorkloadError, match="round the sizes to a coarser unit"):
        load(f"id,lower,upper,size\na,0,4,{2**30}\nb,2,6,1\n", capacity=2**40)
    with pytest.raises(InvalidWorkloadError, match="in all, above"):
        load(f"id,lower,upper,size\na,0,4,{MAX_BYTES}\nb,2,6,{MAX_BYTES}\n", capacity=MAX_BYTES)
    many = "".join(f"b{i},0,1,1\n" for i in range(MAX_BUFFERS + 1))
    with pytest.raises(InvalidWorkloadError, match=f"has {MAX_BUFFERS + 1} buffers"):
        load(f"id,lower,upper,size\n{many}")


def test_offsets_that_are_no_packing_are_refused(load):
    header = "id,lower,upper,size,offset\n"
    with pytest.raises(InvalidWorkloadError, match=r"'b' \(line 3\) overlap in time and in address"):
        load(f"{header}a,0,4,8,0\nb,2,6,4,4\n")
    with pytest.raises(InvalidWorkloadError, match="line 2: offset = '60' is not a whole number from 0 to 56"):
        load(f"{header}a,0,4,8,60\n")
    with pytest.raises(InvalidWorkloadError, match="1 of 2 lines have an offset"):
        load(f"{header}a,0,4,8,0\nb,2,6,4,\n")
