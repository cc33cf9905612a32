"""The job runtime: one standard-library script that reports last, and by rename."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import runpy
import subprocess
import sys
import tracemalloc

import pytest

from reconciler.engines.local.engine import RUNTIME
from schemas.json_schema.validation import load_schema, validate_json
from tests.support.inputs.runtime_jobs import CHECKSUMS, job

WRITE = "import json; json.dump({'events_read': 5, 'outputs': {'out.root': {'events': 3}}}, open('application.json', 'w')); open('out.root', 'w').write('x')"


def report(**said):
    """An application that writes its output, and says that of itself."""
    code = f"open('application.json', 'w').write({json.dumps(said)!r}); open('out.root', 'w').write('x')"
    return ("@python", "-c", code)


def run(folder, command=("@python", "-c", WRITE), **changes):
    """Exit status and result of the runtime in `folder`."""
    attempt = folder / "attempt"
    attempt.mkdir(exist_ok=True)
    described = job(folder, list(command), **changes)
    assert not validate_json(described, load_schema("job"))
    (attempt / "job.json").write_text(json.dumps(described))
    (attempt / "nonce").write_text("nonce")
    done = subprocess.run(
        [sys.executable, "-I", RUNTIME, "name"], cwd=attempt, capture_output=True, check=False
    )
    result = attempt / "result.json"
    found = json.loads(result.read_text()) if result.exists() else None
    assert found is None or not validate_json(found, load_schema("result"))
    return done.returncode, found


def test_it_is_python_3_6_and_needs_nothing_else():
    tree = ast.parse(RUNTIME.read_text(), feature_version=(3, 6))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= set(sys.stdlib_module_names)
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.NamedExpr | ast.Match)]


def test_a_job_that_ends_well(tmp_path):
    status, result = run(tmp_path)
    assert status == 0
    assert result["failure"] is None
    assert result["events_read"] == 5
    assert result["nonce"] == "nonce"
    (output,) = result["outputs"]
    assert (output["file"], output["size"], output["events"]) == ("out.root", 1, 3)
    assert not (tmp_path / "attempt" / "result.json.part").exists()


def test_the_result_says_what_the_application_used(tmp_path):
    hungry = "held = b'x' * (1 << 27); " + WRITE
    status, result = run(tmp_path, ("@python", "-c", hungry))
    assert status == 0
    assert result["peak_memory"] in range(1 << 27, 1 << 28)
    assert result["cpu_seconds"] > 0
    assert result["host"] == os.uname().nodename


def test_what_else_the_application_tells_is_in_the_result(tmp_path):
    told = {"outputs": {"out.root": {"events": 3, "rows": 7, "kind": "event list"}}, "events_read": 5}
    record = {"unwritten": {"v": "std::vector<std::vector<float>>"}, "unstored": {"a line": 2}}
    script = f"""
import json
open("out.root", "w").write("x")
open("event-numbers", "w").write("12345")
open("application.json", "w").write({json.dumps(json.dumps({**told, "record": record}))})
"""
    status, result = run(tmp_path, ("@python", "-c", script))
    assert (status, result["failure"]) == (0, None)
    assert result["record"] == record
    (output,) = result["outputs"]
    assert (output["events"], output["rows"], output["kind"]) == (3, 7, "event list")
    digest = hashlib.sha256(b"12345").hexdigest()
    assert result["event_numbers"] == {"size": 5, "checksum": f"sha256:{digest}"}


@pytest.mark.parametrize(
    ("command", "changes", "kind", "says"),
    [
        (("@python", "-c", "pass"), {}, "unclassified", "did not write out.root"),
        (("@python", "-c", "raise SystemExit(9)"), {}, "unclassified", "status 9"),
        (("@python", "-c", "import os; os.kill(os.getpid(), 9)"), {}, "transient", "signal 9"),
        (("/no/such/program",), {}, "infrastructure", "cannot be started"),
        (("@python", "-c", "open('application.json', 'w').write('{')"), {}, "infrastructure", "JSON"),
        (("@python", "-c", "open('application.json', 'w').write('[1]')"), {}, "infrastructure", "report"),
        (
            ("@python", "-c", "open('application.json', 'w').write('{\"failure\": 7}')"),
            {},
            "infrastructure",
            "TypeError",
        ),
        (report(outputs={"out.root": {"rows": -1}}), {}, "infrastructure", "the report has -1 events"),
        (report(outputs={"out.root": {"kind": "pictures"}}), {}, "infrastructure", "no kind that is known"),
        (report(record=[1]), {}, "infrastructure", "record is not an object"),
        (
            (
                "@python",
                "-c",
                WRITE.replace("'events_read': 5", "'record': {'unwritten': {'x': 'y' * 300000}}"),
            ),
            {},
            "infrastructure",
            "too large",
        ),
        (report(events_read=2**70), {}, "infrastructure", "the report has 1180591620717411303424 events"),
        (report(events_read="5"), {}, "infrastructure", "the report has '5' events"),
        (report(events_read=True), {}, "infrastructure", "the report has True events"),
        (report(outputs={"out.root": {"events": float("nan")}}), {}, "infrastructure", "has nan events"),
        (report(outputs={"out.root": {"events": -1}}), {}, "infrastructure", "the report has -1 events"),
        (report(failure={"class": "odd", "message": ""}), {}, "infrastructure", "a failure that is none"),
        (report(failure={"class": "input", "message": 7}), {}, "infrastructure", "a failure that is none"),
        (report(failure={"class": "input", "message": "a\0\udc80b" * 999}), {}, "input", "a??b"),
        (
            report(failure={"class": "input", "message": "", "scope": "all"}),
            {},
            "infrastructure",
            "a failure that is none",
        ),
        (
            ("@python", "-c", "open('application.json', 'w').write('[' * 10**5)"),
            {},
            "infrastructure",
            "Recursion",
        ),
        (("@python", "-c", "import os; os.mkfifo('application.json')"), {}, "infrastructure", "not a file"),
        (
            ("@python", "-c", "open('application.json', 'w').truncate(1 << 40)"),
            {},
            "infrastructure",
            "too large",
        ),
        (("@python", "-c", "open('out.root', 'w')"), {}, "unclassified", "is empty"),
        (
            None,
            {"inputs": [{"name": "a", "path": "/no/such/file", "size": 1, "checksum": "adler32:00"}]},
            "input",
            "No such file",
        ),
    ],
    ids=[
        "no output",
        "status",
        "signal",
        "no program",
        "broken report",
        "list",
        "number",
        "rows",
        "kind",
        "record",
        "large record",
        "events",
        "events in words",
        "events as truth",
        "events of an output",
        "fewer than no events",
        "class",
        "no message",
        "long message",
        "scope",
        "deep",
        "pipe",
        "huge",
        "empty",
        "no input",
    ],
)
def test_a_job_that_fails_says_why_and_of_what_class(tmp_path, command, changes, kind, says):
    status, result = run(tmp_path, command or ("@python", "-c", WRITE), **changes)
    assert status == 1
    assert result["failure"]["class"] == kind
    assert says in result["failure"]["message"]
    assert result["outputs"] == []


def test_a_failure_of_all_jobs_of_the_step_is_told_as_one(tmp_path):
    said = {"class": "permanent", "message": "no branch x", "scope": "step"}
    assert run(tmp_path, report(failure=said))[1]["failure"] == said


def test_an_input_of_another_size_is_not_read(tmp_path):
    (tmp_path / "in.root").write_text("raw")
    changed = [{"name": "in.root", "path": str(tmp_path / "in.root"), "size": 4, "checksum": "adler32:00"}]
    _, result = run(tmp_path, inputs=changed)
    assert result["failure"]["class"] == "input"
    assert not (tmp_path / "attempt" / "out.root").exists()


def register(folder, **changes):
    """The job's input as the catalogue has it."""
    source = folder / "in.root"
    return [{"name": "in.root", "path": str(source), "size": 3, "checksum": CHECKSUMS["adler32"], **changes}]


@pytest.mark.parametrize("checksum", CHECKSUMS.values(), ids=CHECKSUMS)
def test_an_input_with_its_checksum_is_read(tmp_path, checksum):
    assert run(tmp_path, inputs=register(tmp_path, checksum=checksum))[0] == 0


@pytest.mark.parametrize("checksum", CHECKSUMS.values(), ids=CHECKSUMS)
def test_an_input_of_the_same_size_and_other_bytes_is_not_read(tmp_path, checksum):
    algorithm, _, value = checksum.partition(":")
    other = f"{algorithm}:{'0' if value[0] != '0' else '1'}{value[1:]}"
    _, result = run(tmp_path, inputs=register(tmp_path, checksum=other))
    assert result["failure"] == {
        "class": "input",
        "message": f"{tmp_path}/in.root has the checksum {checksum}, registered was {other}: "
        "it is not the file that was registered",
    }
    assert not (tmp_path / "attempt" / "out.root").exists()


def test_leading_zeros_that_a_list_lost_make_no_other_checksum(tmp_path):
    assert run(tmp_path, inputs=register(tmp_path, checksum="adler32:292014b"))[0] == 0


def test_a_checksum_of_an_unknown_algorithm_is_no_proof(tmp_path):
    _, result = run(tmp_path, inputs=register(tmp_path, checksum="md4:00"))
    assert result["failure"]["class"] == "input"
    assert "md4:00; known here are adler32, crc32, md5, sha1, sha256, sha512" in result["failure"]["message"]


def write_parts(folder, *names):
    """Files of three bytes, as a job lists them."""
    for name in names:
        (folder / name).write_text("raw")
    return [
        {"name": name, "path": str(folder / name), "size": 3, "checksum": CHECKSUMS["adler32"]}
        for name in names
    ]


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_the_parts_of_a_set_of_raw_data_are_checked_as_its_first_file(tmp_path, packed):
    first, *parts = write_parts(tmp_path, *(f"a.sroot{part}{packed}" for part in ("", "-1", "-2")))
    assert run(tmp_path, inputs=[first], parts=parts)[0] == 0
    for number, part in enumerate(parts, 1):
        (tmp_path / f"other{number}").mkdir()
        wrong = [*parts[: number - 1], {**part, "checksum": "adler32:00000001"}, *parts[number:]]
        status, result = run(tmp_path / f"other{number}", inputs=[first], parts=wrong)
        assert (status, result["failure"]["class"]) == (1, "input")
        assert result["failure"]["message"].startswith(part["path"])


@pytest.mark.parametrize("known", [0, 1])
def test_a_part_that_basf2_would_find_and_nobody_registered_stops_the_job(tmp_path, known):
    first, *parts = write_parts(tmp_path, *("a.sroot", "a.sroot-1")[: known + 1])
    (extra,) = write_parts(tmp_path, f"a.sroot-{known + 1}")
    status, result = run(tmp_path, inputs=[first], **({"parts": parts} if parts else {}))
    assert (status, result["failure"]["class"], result["outputs"]) == (1, "input", [])
    assert result["failure"]["message"].startswith(
        f"{extra['path']} lies beside {[first, *parts][-1]['path']}"
    )


def test_a_site_may_choose_to_trust_sizes(tmp_path):
    wrong = register(tmp_path, checksum="adler32:00000001")
    assert run(tmp_path, inputs=wrong, verify="size")[0] == 0


@pytest.mark.slow
def test_an_input_is_read_in_pieces(tmp_path):
    source = tmp_path / "large.root"
    with source.open("wb") as stream:
        stream.truncate(1 << 30)
    inputs = register(tmp_path, path=str(source), size=1 << 30, checksum="adler32:c02d0001")
    check = runpy.run_path(str(RUNTIME))["check_inputs"]
    tracemalloc.start()
    try:
        check({"inputs": inputs})
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "change",
    ["open({!r}, 'w').write('new')", "open({!r}, 'a').write('more')", "import os; os.remove({!r})"],
    ids=["other bytes", "longer", "gone"],
)
@pytest.mark.parametrize("verify", [{}, {"verify": "size"}], ids=["checksum", "size"])
def test_an_input_that_changes_while_it_is_read_makes_no_output(tmp_path, change, verify):
    source = str(tmp_path / "in.root")
    code = change.format(source) + "; " + WRITE
    status, result = run(tmp_path, ("@python", "-c", code), inputs=register(tmp_path), **verify)
    assert status == 1
    assert result["failure"]["class"] == "input"
    assert result["failure"]["message"].startswith(f"{source}")
    assert (
        "changed while the job read it: it had 3 bytes of" in result["failure"]["message"]
        or "remove" in change
    )
    assert result["outputs"] == []


def test_b25_a_folder_is_used_once(tmp_path):
    assert run(tmp_path)[0] == 0
    first = (tmp_path / "attempt" / "result.json").read_bytes()
    assert run(tmp_path)[0] == 75
    assert (tmp_path / "attempt" / "result.json").read_bytes() == first


def test_s6_no_shell_reads_the_command(tmp_path):
    canary = tmp_path / "canary"
    status, result = run(
        tmp_path, ("@python", "-c", "import sys; print(sys.argv)", f"$(touch {canary})", f"; touch {canary}")
    )
    assert status == 1
    assert "did not write" in result["failure"]["message"]
    assert not canary.exists()
