"""Tables with header comments: the package's own, and a user's, whose errors name the file and the line."""

from pathlib import Path

import pytest

import dsegym
from dsegym.costmodels.errors import InvalidWorkloadError
from dsegym.costmodels.files import whole_number
from dsegym.costmodels.tables import package_path, package_rows, read_user_table

COSTMODELS = Path(dsegym.__file__).parent / "costmodels"
TABLES = sorted(str(path.relative_to(COSTMODELS)) for path in COSTMODELS.rglob("*.csv"))


@pytest.fixture
def read(tmp_path):
    def write_and_read(text, wrong_header=lambda header: ""):
        path = tmp_path / "pets.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_user_table(path, "list of pets", "pet", ("name", "legs"), wrong_header)

    return write_and_read


def legs(row):
    return whole_number(row["legs"], "legs", 0, 8)


@pytest.mark.parametrize("name", TABLES)
def test_every_row_of_the_packages_tables_fills_the_columns_of_its_header(name):
    rows = package_rows(name)
    assert rows
    assert all(None not in row and None not in row.values() for row in rows)
    assert not any(cell.startswith("#") for cell in rows[0])


def test_the_packages_files_are_found_by_their_path_below_costmodels():
    assert package_path("memory/platforms.csv") == COSTMODELS / "memory" / "platforms.csv"


def test_comments_and_empty_lines_are_skipped_wherever_they_stand_and_lines_keep_their_numbers(read):
    table = read("\ufeff# from a zoo\n\n legs ,name\n# that all\n4, cat \n\n2,bird\n")
    assert (table.header, table.comments) == (("legs", "name"), "from a zoo that all")
    assert table.parse(dict) == {5: {"legs": "4", "name": "cat"}, 7: {"legs": "2", "name": "bird"}}


def test_a_quoted_cell_may_hold_a_comma(read):
    assert read('name,legs\n"cat, old",4\n').parse(dict) == {2: {"name": "cat, old", "legs": "4"}}


def test_a_quoted_cell_may_hold_ends_of_lines_and_lines_keep_their_numbers(read):
    table = read('name,"legs"\n"cat\n# old\n\nblack",4\nbird,2\n')
    assert table.parse(dict) == {2: {"name": "cat\n# old\n\nblack", "legs": "4"}, 6: {"name": "bird", "legs": "2"}}
    assert table.comments == ""


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("first", ["", "sep=;\n", '"sep=;"\n', "# pets\nSEP=;\n"])
@pytest.mark.parametrize("index", ["", "0", "3"])
def test_ends_of_lines_declared_separators_and_indices_say_nothing_of_the_rows(read, end, first, index):
    places = [f"{int(index) * (k + 1)};" if index else "" for k in range(2)]
    text = f"{first}{';' if index else ''}name;legs\n{places[0]}cat, o\u2028ld;4\n{places[1]}bird\x85;2\n"
    rows = list(read(text.replace("\n", end)).parse(dict).values())
    assert rows == [{"name": "cat, o\u2028ld", "legs": "4"}, {"name": "bird\x85", "legs": "2"}]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (",name,legs\nx,cat,4\n", "line 1: the first column has no name; the columns are name, legs"),
        ('name,legs\ncat,4\n"dog,4\n\nbird,2\n', "line 3: a quote is opened and not closed"),
        (
            'name,legs\n"' + ("x" * 99 + "\n") * 2000 + '",4\n',
            "line 2: a row of more than 100,000 characters; is a quote not",
        ),
        ("name,legs\n" + "x" * 100_001 + ",4\n", "line 2: 100,003 characters; at most 100,000"),
        ("name,legs\n", "'.*pets.csv' needs a header line and at least one pet"),
        ("", "needs a header line"),
        (b"name,legs\n\xff,4\n", "Cannot read the list of pets '.*pets.csv': line 2 is not UTF-8"),
        ("# pets\nname,tail\ncat,1\n", "line 2: unknown column 'tail'; the columns are name, legs"),
        ("name,legs,name\ncat,4,cat\n", "line 1: column 'name' stands there twice"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(read, text, reason):
    with pytest.raises(InvalidWorkloadError, match=reason):
        read(text)


def test_the_callers_objection_to_a_header_is_told_with_its_line(read):
    with pytest.raises(InvalidWorkloadError, match=r"pets.csv', line 1: no legs\."):
        read("name\ncat\n", lambda header: "" if "legs" in header else "no legs")


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(InvalidWorkloadError, match="there is no such file"):
        read_user_table(tmp_path / "none.csv", "list of pets", "pet", ("name",), lambda header: "")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("ant,9", "line 3: legs = '9' is not a whole number from 0 to 8"),
        ("ant,six", "line 3: legs = 'six'"),
        ("ant,0_6", "line 3: legs = '0_6'"),
        ("ant,\u0666", "line 3: legs = '\u0666'"),
        ("ant", "line 3: 1 cells where the header has 2"),
        ("ant,6,6", "line 3: 3 cells where the header has 2"),
    ],
)
def test_a_wrong_row_is_named_by_its_line(read, line, reason):
    with pytest.raises(InvalidWorkloadError, match=reason):
        read(f"name,legs\ncat,4\n{line}\n").parse(legs)
