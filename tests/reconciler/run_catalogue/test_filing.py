"""What an import makes of files: nothing is taken that contradicts something else, and each refusal names both."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.run import File
from reconciler.run_catalogue.file_decision import FilePlace, Known, Replica, content_of, key_of
from reconciler.run_catalogue.filing import decide

A = File(12, 1, "mdst", "a.root", "/in/a.root", 10, "sha256:aa", 5)
B = replace(A, name="b.root", path="/in/b.root", checksum="sha256:bb")


class Seen:
    """A storage of which a test says what is there, and what is in it."""

    def __init__(self, gone=(), unknown=(), links=(), sums=()):
        self.gone, self.unknown, self.links, self.sums = set(gone), set(unknown), set(links), dict(sums)

    def judge(self, file):
        if file.path in self.unknown or file.storage != "disk":
            return FilePlace.UNKNOWN
        return FilePlace.GONE if file.path in self.gone else FilePlace.THERE

    def same(self, one, other):
        return {one, other} in self.links

    def digest(self, path, algorithm):
        return self.sums.get((path, algorithm))


def know(*files, **more):
    return Known({key_of(file): file for file in files}, **more)


def settle(found, known=(), storage=None, replicas=(), named=(), **more):
    """What becomes of each path: new, moved, changed, refused …; and the reasons of those that are refused."""
    made = decide(found, replicas, know(*known, **more), storage or Seen(), frozenset(named))
    outcome = {file.path: "new" for file in made.new}
    outcome |= {after.path: "moved" for _, after in made.moved}
    outcome |= {after.path: "changed" for _, after in made.changed}
    outcome |= {file.path: "kept out" for file in made.kept_out}
    outcome |= {path: "replica" for _, path, _ in made.replicas}
    outcome |= {one.path: "refused" for one in made.refused}
    return outcome, {one.path: one.reason for one in made.refused}, made


ELSEWHERE = replace(A, path="/other/a.root")
OTHER = replace(A, path="/other/a.root", checksum="sha256:cc")
COPY = replace(A, name="copy.root", path="/in/copy.root")


@pytest.mark.parametrize(
    ("found", "refused"),
    {
        "one name in two folders": (
            [A, OTHER],
            {"/in/a.root": "/other/a.root", "/other/a.root": "/in/a.root"},
        ),
        "one file in two folders": (
            [A, ELSEWHERE],
            {"/in/a.root": "/other/a.root", "/other/a.root": "/in/a.root"},
        ),
        "one content under two names": (
            [A, COPY],
            {"/in/a.root": "/in/copy.root", "/in/copy.root": "/in/a.root"},
        ),
        "one content in two runs": (
            [A, replace(A, run=2, path="/in/2/a.root")],
            {"/in/a.root": "/in/2/a.root", "/in/2/a.root": "/in/a.root"},
        ),
        "one path as two files": ([A, replace(A, run=2)], {"/in/a.root": "mdst/12:2/a.root"}),
        "one path at two levels": (
            [A, replace(A, level="cdst", dataset="")],
            {"/in/a.root": "cdst/12:1/a.root"},
        ),
        "one file, stated differently": ([A, replace(A, events=6)], {"/in/a.root": "differently"}),
        "one file, listed twice": ([A, A], {}),
        "two files": ([A, B], {}),
        "one short checksum, two sizes": (
            [replace(A, checksum="adler32:01"), replace(B, checksum="adler32:01", size=11)],
            {},
        ),
        "one short checksum, one size": (
            [replace(A, checksum="adler32:01"), replace(B, checksum="adler32:01")],
            {"/in/a.root": "/in/b.root", "/in/b.root": "/in/a.root"},
        ),
        "one long checksum, two sizes": (
            [A, replace(COPY, size=11)],
            {"/in/a.root": "/in/copy.root", "/in/copy.root": "/in/a.root"},
        ),
    }.values(),
    ids=lambda value: None,
)
def test_of_files_that_contradict_one_another_in_an_import_none_is_taken(found, refused):
    outcome, reasons, made = settle(
        [*found, replace(B, name="z.root", path="/in/z.root", checksum="sha256:zz")]
    )
    assert reasons.keys() == refused.keys()
    for path, other in refused.items():
        assert other in reasons[path]
    taken = {file.path for file in found} - refused.keys() | {"/in/z.root"}
    assert {path for path, what in outcome.items() if what == "new"} == taken
    assert len(made.new) == len(taken)


@pytest.mark.parametrize(
    ("file", "storage", "what", "said"),
    {
        "the same": (A, Seen(), None, None),
        "the same with its events": (replace(A, events=6), Seen(), "changed", None),
        "the same, its events unsaid": (replace(A, events=None), Seen(), None, None),
        "rewritten in its place": (replace(A, checksum="sha256:cc"), Seen(), "changed", None),
        "moved": (ELSEWHERE, Seen(gone=["/in/a.root"]), "moved", None),
        "moved from where nobody looks": (ELSEWHERE, Seen(unknown=["/in/a.root"]), "moved", None),
        "reached by another way": (
            ELSEWHERE,
            Seen(links=[frozenset({"/in/a.root", "/other/a.root"})]),
            "moved",
            None,
        ),
        "copied": (ELSEWHERE, Seen(), "refused", "registered at /in/a.root, which is equal"),
        "replaced elsewhere": (OTHER, Seen(gone=["/in/a.root"]), "changed", None),
        "another of its name": (OTHER, Seen(), "refused", "at /in/a.root, with another content"),
        "another of its name, perhaps": (
            OTHER,
            Seen(unknown=["/in/a.root"]),
            "refused",
            "files remove /in/a.root",
        ),
        "a copy of another name": (COPY, Seen(), "refused", "/in/a.root (unassigned/mdst/12:1/a.root)"),
        "renamed": (COPY, Seen(gone=["/in/a.root"]), "refused", "files remove /in/a.root"),
        "in another run": (replace(A, run=2), Seen(), "refused", "registered as unassigned/mdst/12:1/a.root"),
        "by another checksum, equal": (
            replace(A, checksum="adler32:01"),
            Seen(sums={("/in/a.root", "sha256"): "sha256:aa"}),
            None,
            None,
        ),
        "by another checksum, changed": (
            replace(A, checksum="adler32:01"),
            Seen(sums={("/in/a.root", "sha256"): "sha256:cc"}),
            "changed",
            None,
        ),
    }.values(),
    ids=lambda value: None,
)
def test_beside_what_is_registered_a_file_is(file, storage, what, said):
    outcome, reasons, made = settle([file], [A, B], storage)
    assert outcome == ({file.path: what} if what else {})
    assert made.unchanged == (what is None)
    if said is not None:
        assert said in reasons[file.path]


def test_two_files_that_change_their_contents_with_one_another_are_changed_both():
    outcome, _, _ = settle([replace(A, checksum=B.checksum), replace(B, checksum=A.checksum)], [A, B])
    assert outcome == {"/in/a.root": "changed", "/in/b.root": "changed"}


def test_a_change_that_is_refused_leaves_its_content_to_nobody():
    changed = replace(B, checksum=A.checksum)
    new = replace(A, name="c.root", path="/in/c.root", checksum=B.checksum)
    outcome, _, _ = settle([A, changed, new], [A, B])
    assert outcome == {"/in/b.root": "refused", "/in/c.root": "refused"}


def test_equal_files_that_an_older_catalogue_has_stand_as_they_are():
    _, _, made = settle([A, COPY], [A, COPY])
    assert made.unchanged == 2


@pytest.mark.parametrize(
    ("file", "named", "what"),
    [(A, (), "kept out"), (A, ["/in/a.root"], "new"), (replace(A, checksum="sha256:cc"), (), "new")],
)
def test_a_file_that_was_removed_comes_back_where_its_path_is_given_or_it_is_another(file, named, what):
    outcome, _, _ = settle([file], named=named, removed=frozenset({(key_of(A), A.checksum)}))
    assert outcome == {"/in/a.root": what}


PLACE = replace(A, path="/copy/a.root")


@pytest.mark.parametrize(
    ("replica", "what", "said"),
    {
        "by path": (Replica(PLACE, "/in/a.root"), "replica", None),
        "by name": (Replica(PLACE, "a.root"), "replica", None),
        "by content": (Replica(PLACE), "replica", None),
        "under another name": (Replica(replace(PLACE, name="x.root"), "a.root"), "replica", None),
        "on tape": (Replica(replace(PLACE, storage="tape"), "a.root"), "replica", None),
        "of another content": (
            Replica(replace(PLACE, checksum="sha256:cc"), "a.root"),
            "refused",
            "not a replica of /in/a.root",
        ),
        "of another size": (
            Replica(replace(PLACE, size=11), "a.root"),
            "refused",
            "not a replica of /in/a.root",
        ),
        "of what is not registered": (
            Replica(PLACE, "nobody.root"),
            "refused",
            "nobody.root, of which it is a replica",
        ),
        "of nothing that is known": (
            Replica(replace(PLACE, checksum="sha256:cc")),
            "refused",
            "not registered",
        ),
        "of itself": (Replica(A, "a.root"), "refused", "itself"),
        "where another file is": (
            Replica(replace(PLACE, path="/in/b.root"), "a.root"),
            "refused",
            "mdst/12:1/b.root",
        ),
    }.values(),
    ids=lambda value: None,
)
def test_another_place_of_a_file_is_noted_and_no_file(replica, what, said):
    outcome, reasons, made = settle([], [A, B], replicas=[replica])
    assert outcome == {replica.file.path: what}
    assert made.new == []
    if said is not None:
        assert said in reasons[replica.file.path]


def test_a_file_and_its_replica_may_come_in_one_import():
    outcome, _, _ = settle([A], replicas=[Replica(PLACE, "/in/a.root")])
    assert outcome == {"/in/a.root": "new", "/copy/a.root": "replica"}


def test_a_replica_that_is_found_again_changes_nothing_unless_it_is_another_file():
    known = Known({key_of(A): A}, {"/copy/a.root": key_of(A)})
    assert decide([PLACE], [], known, Seen()).unchanged == 1
    (refused,) = decide([replace(PLACE, checksum="sha256:cc")], [], known, Seen()).refused
    assert "replica of /in/a.root, and has another content now" in refused.reason
    assert decide([], [Replica(PLACE, "a.root")], known, Seen()).replicas == []


def part(number, run=1, folder="/raw", checksum=None, packed=""):
    name = f"x.sroot{f'-{number}' if number else ''}{packed}"
    return File(12, run, "sroot", name, f"{folder}/{name}", 10, checksum or f"sha256:0{number}", 5)


@pytest.mark.parametrize(
    ("found", "known", "refused"),
    [
        ([part(0), part(1), part(2)], [], []),
        ([part(1)], [part(0)], []),
        ([part(1)], [], ["/raw/x.sroot-1"]),
        ([part(0), part(2)], [], ["/raw/x.sroot-2"]),
        ([part(2), part(1)], [], ["/raw/x.sroot-1", "/raw/x.sroot-2"]),
        ([part(0, packed=".gz"), part(1)], [], ["/raw/x.sroot-1"]),
        ([part(0, folder="/elsewhere"), part(1)], [], ["/raw/x.sroot-1"]),
        ([part(0, run=2), part(1)], [], ["/raw/x.sroot-1"]),
    ],
)
def test_a_part_of_a_set_needs_the_part_before_it(found, known, refused):
    nothing_else = Seen(gone=[f"/raw/x.sroot-{number}" for number in range(1, 9)])
    _, reasons, made = settle(found, known, nothing_else)
    assert sorted(reasons) == refused
    assert len(made.new) == len(found) - len(refused)


def test_what_basf2_would_read_beyond_what_is_registered_is_told():
    _, _, made = settle([part(0), part(1)], storage=Seen())
    assert made.alone == [("/raw/x.sroot-1", "/raw/x.sroot-2")]
    _, _, made = settle([part(0), part(1)], storage=Seen(gone=["/raw/x.sroot-2"]))
    assert made.alone == []


def files():
    """Few files of few names, paths and contents, so that they contradict one another often."""
    return st.builds(
        File,
        st.just(12),
        st.integers(1, 2),
        st.sampled_from(["mdst", "cdst"]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from([f"/{place}" for place in "pqrstu"]),
        st.integers(1, 2),
        st.sampled_from(["adler32:1", "adler32:2", "md5:1", "md5:2", "md5:3"]),
        st.sampled_from([None, 5]),
    )


PLACES = st.builds(Seen, st.sets(st.sampled_from(["/p", "/q", "/r"])), st.sets(st.sampled_from(["/s", "/t"])))


@st.composite
def catalogues(draw):
    """What is registered, by the same rules."""
    return decide(draw(st.lists(files(), max_size=6)), [], Known(), Seen(gone=["/p"])).new


@pytest.mark.slow
@given(catalogues(), st.lists(files(), max_size=8), PLACES)
@settings(max_examples=500)
def test_whatever_is_imported_a_name_a_path_and_a_content_stay_with_one_file(known, found, storage):
    _, _, made = settle(found, known, storage)
    written = [*made.new, *(after for _, after in (*made.moved, *made.changed))]
    after = {key_of(file): file for file in [*known, *written]}
    assert len(after) == len(known) + len(made.new)
    assert len({content_of(file) for file in after.values()}) == len(after)
    assert len({file.path for file in after.values()}) == len(after)
    told = {file.path for file in written} | {one.path for one in made.refused}
    unchanged = {file.path for file in found} - told
    assert {file.path for file in known} >= unchanged, "whatever was not written or told was there already"


@pytest.mark.slow
@given(catalogues(), st.lists(files(), max_size=8), PLACES, st.randoms())
@settings(max_examples=300)
def test_the_order_in_which_files_come_is_of_no_consequence(known, found, storage, random):
    def look(made):
        return (
            set(made.new),
            set(made.moved),
            set(made.changed),
            made.unchanged,
            {one.path for one in made.refused},
        )

    other = list(found)
    random.shuffle(other)
    assert look(settle(found, known, storage)[2]) == look(settle(other, known, storage)[2])


@pytest.mark.slow
@given(catalogues(), st.lists(files(), max_size=8), PLACES)
@settings(max_examples=300)
def test_what_was_imported_can_be_imported_again(known, found, storage):
    _, _, made = settle(found, known, storage)
    written = [*made.new, *(after for _, after in (*made.moved, *made.changed))]
    after = {key_of(file): file for file in [*known, *written]}
    _, reasons, again = settle(written, after.values(), storage)
    assert (again.new, again.moved, again.changed, reasons) == ([], [], [], {})
    assert again.unchanged == len(written)


SHORT = replace(A, checksum="adler32:a1b2c3d")
PADDED = replace(A, checksum="adler32:0a1b2c3d")


@pytest.mark.parametrize(("before", "file"), [(SHORT, PADDED), (PADDED, SHORT)])
def test_a_checksum_with_and_without_its_zeros_is_one_content(before, file):
    assert settle([file], [before])[0] == {}
    (moved,) = settle([replace(file, path="/other/a.root")], [before], Seen(gone=["/in/a.root"]))[2].moved
    assert moved[1].checksum == before.checksum, "what is registered is in the fingerprints"
    copy = replace(file, name="copy.root", path="/in/copy.root")
    assert "mdst/12:1/a.root" in settle([copy], [before])[1]["/in/copy.root"]
    assert settle([file], removed=frozenset({(key_of(A), PADDED.checksum)}))[0] == {"/in/a.root": "kept out"}
