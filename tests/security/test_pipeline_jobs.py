"""What a pipeline's jobs let a checkout do: the job that launches runs nothing of it, and the token reaches one job alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ci.changes.follow import APPLIED
from tests.support.inputs.keys import ORDER, Circle
from tests.support.worlds.production_host import install_turn
from tests.support.worlds.signable_checkout import SignableCheckout

ROOT = Path(__file__).parents[2]
GITLAB = ROOT / ".gitlab-ci.yml"
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TOKEN = "B2PROD_FORGE_TOKEN"
HOOKS = (
    "post-checkout",
    "post-merge",
    "pre-auto-gc",
    "post-index-change",
    "reference-transaction",
    "post-rewrite",
)


def load(file):
    return YAML(typ="safe").load(file.read_text())


def list_gitlab_jobs():
    """Name and job, what it extends merged in."""
    jobs = {name: job for name, job in load(GITLAB).items() if isinstance(job, dict) and name != "variables"}
    for name, job in jobs.items():
        if "script" in job:
            yield name, {**jobs.get(job.get("extends"), {}), **job}


def read_launch_scripts():
    """The lines of the jobs that launch, by forge."""
    job = dict(list_gitlab_jobs())["launch"]
    lines = [line for part in ("before_script", "script", "after_script") for line in job.get(part, ())]
    steps = load(ROOT / ".github/workflows/main.yml")["jobs"]["launch"]["steps"]
    return {"gitlab": lines, "github": [step["run"] for step in steps]}


# ── launch ──


@pytest.fixture
def signable(tmp_path):
    """What people push to, approved and ready; `clone` is the one of the production host."""
    (tmp_path / "keys").mkdir()
    made = SignableCheckout(tmp_path / "pushed", Circle(tmp_path / "keys"))
    made.sign(*ORDER)
    made.commit("approved")
    made.clone = tmp_path / "clone"
    made.git("clone", "-q", str(made.root), str(made.clone))
    return made


def set_traps(folder: Path, canary: Path) -> dict[str, str]:
    """Fills a folder with whatever would be run by a careless job, and returns an environment that points there."""
    alarm = f"open({str(canary)!r}, 'a').write(__file__ + '\\n')\n"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    modules = ("noxfile", "nox", "git", "conftest", "sitecustomize", "usercustomize", "httpx", "sqlalchemy")
    files = {f"{name}.py": alarm for name in modules}
    packages = ("ci", "schemas", "renderer", "reconciler")
    files |= {f"{name}/__init__.py": alarm for name in packages}
    files |= {"ci/command_line.py": alarm, f"lib/{version}/site-packages/usercustomize.py": alarm}
    shell = f"#!/bin/sh\necho \"$0\" >> '{canary}'\n"
    programs = ("b2prod", "python", "python3", "git", "sh", "env", "ssh", "ssh-keygen", "monitor")
    files |= {f"bin/{name}": shell for name in programs} | {f"hooks/{name}": shell for name in HOOKS}
    config = f"[core]\n  hooksPath = {folder}/hooks\n  fsmonitor = {folder}/bin/monitor\n"
    files |= {".gitconfig": config, "pyproject.toml": "[tool.uv]\nindex-url = 'http://127.0.0.1:9/'\n"}
    files |= {"environment": shell, ".env": shell, ".profile": shell}
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        if text is shell:
            file.chmod(0o755)
    return {
        "HOME": str(folder),
        "PATH": f"{folder}/bin:.:{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "PYTHONUSERBASE": str(folder),
        "PYTHONSTARTUP": str(folder / "noxfile.py"),
        "PYTHONHOME": str(folder),
        "GIT_CONFIG_GLOBAL": str(folder / ".gitconfig"),
        "GIT_EXEC_PATH": str(folder / "bin"),
        "GIT_DIR": str(folder / ".git"),
        "GIT_SSH_COMMAND": str(folder / "bin/ssh"),
        "ENV": str(folder / ".profile"),
        "B2PROD_STATE": str(folder / "state"),
        "B2PROD_TRUST": "0" * 64,
        "B2PROD_DATABASE": "postgresql://nobody@127.0.0.1:9/none",
    }


@pytest.mark.parametrize("forge", ["gitlab", "github"])
def test_s31_the_job_that_launches_runs_nothing_of_a_checkout_or_of_its_environment(
    signable, tmp_path, forge
):
    canary = tmp_path / "canary"
    checkout = tmp_path / "checkout"
    signable.git("clone", "-q", str(signable.root), str(checkout))
    traps = set_traps(checkout, canary)
    # the same is merged, lies in the work tree of the host's clone, and in its folder of git
    set_traps(signable.root, canary)
    signable.git("add", "-A", "-f")
    signable.git("commit", "-q", "-m", "merged by somebody")
    head = signable.git("rev-parse", "HEAD")
    set_traps(signable.clone, canary)
    for place in (checkout, signable.clone):
        set_traps(place / ".git", canary)
    signable.git("-C", str(signable.clone), "config", "core.fsmonitor", str(signable.clone / "bin/monitor"))
    tools = install_turn(tmp_path / "host", signable.clone, signable.state.folder)
    script = "\n".join(read_launch_scripts()[forge])

    def launch(cwd, **environment):
        return subprocess.run(
            ["/bin/bash", "-eo", "pipefail", "-c", script],
            cwd=cwd,
            env={**os.environ, **environment, "PATH": f"{tools}:{environment['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    done = launch(checkout, **traps)
    assert not canary.exists(), canary.read_text()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 units produced" in done.stderr
    assert signable.git("-C", str(signable.clone), "rev-parse", APPLIED) == head, (
        "it was the head of main, fetched by the host"
    )
    done = launch(signable.clone, **traps)
    assert not canary.exists(), canary.read_text()
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_traps_catch_careless_jobs(tmp_path):
    """Each of these was, or could have been, the line that launches."""
    folder = tmp_path / "checkout"
    for number, line in enumerate(
        (
            f"{sys.executable} noxfile.py -s reconcile",
            f"{sys.executable} -m ci.command_line",
            f"PYTHONPATH=. {sys.executable} -c pass",
            "b2prod reconcile --once",
            "git init -q made && git -C made checkout -q -b other",
        )
    ):
        canary = tmp_path / f"canary{number}"
        traps = set_traps(folder, canary)
        kept = {name: traps[name] for name in ("HOME", "GIT_CONFIG_GLOBAL")}
        path = traps["PATH"] if line.startswith("b2prod") else os.environ["PATH"]
        script = f"{line}; :"
        if line.startswith("git"):
            script = "git init -q made; git -C made -c user.name=x -c user.email=x@example.org commit -q --allow-empty -m x; :"
        subprocess.run(
            ["/bin/bash", "-c", script],
            cwd=folder,
            env={**os.environ, **kept, "PATH": path},
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert canary.exists(), line


def test_s31_the_job_that_launches_has_no_checkout_no_action_and_no_variable():
    gitlab = dict(list_gitlab_jobs())["launch"]
    assert gitlab["variables"] == {"GIT_STRATEGY": "none"}
    assert not {"image", "services", "cache", "artifacts", "needs", "secrets", "id_tokens"} & {*gitlab}
    workflow = load(ROOT / ".github/workflows/main.yml")
    job = workflow["jobs"]["launch"]
    assert workflow["permissions"] == job["permissions"] == {}
    assert [set(step) for step in job["steps"]] == [{"run"}]
    assert "env" not in workflow
    assert "env" not in job
    one, other = read_launch_scripts().values()
    assert one == other == ["sudo -n -u b2prod /opt/b2prod/turn"]


def test_what_a_pipeline_may_start_takes_no_arguments_and_is_what_the_docs_install():
    turn = ROOT / "docs/pipeline/turn"
    assert turn.stat().st_mode & 0o111
    text = turn.read_text()
    assert not re.search(r"\$", text), "nothing of its caller stands in it"
    assert "/bin/python -I /opt/b2prod/bin/b2prod" in text
    unit = (ROOT / "docs/systemd/b2prod-reconcile.service").read_text()
    for place in ("/etc/b2prod/environment", "/var/lib/b2prod/repository", "/var/lib/b2prod/state"):
        assert place in text
        assert place in unit


# ── the token for comments ──


def test_s32_on_gitlab_the_token_is_in_the_environment_of_the_job_that_comments_and_others_unset_it():
    whole = load(GITLAB)
    assert TOKEN not in json.dumps([whole["variables"], whole["workflow"], whole.get("default")])
    jobs = dict(list_gitlab_jobs())
    assert {*jobs} == {"code", "review", "comment", "launch"}
    for name, job in jobs.items():
        rest = [line for part in ("before_script", "after_script") for line in job.get(part, ())]
        named = TOKEN in json.dumps({**job, "script": [], "before_script": [], "after_script": []})
        assert not named, f"{name} names the token outside of its script"
        if name == "comment":
            # a variable that is scoped to an environment reaches the jobs of that environment alone
            assert job["environment"] == {"name": "comments", "action": "access"}
            continue
        assert job.get("environment", {}).get("name") != "comments"
        if name == "launch":
            assert (
                job["script"] == read_launch_scripts()["gitlab"]
            )  # nothing of the environment passes (above)
            continue
        assert job["script"][0] == f"unset {TOKEN}"
        assert not any("python3" in line for line in rest), "what comes before the script runs no code"


def test_s32_the_jobs_that_run_code_of_others_do_not_hand_the_token_on(tmp_path):
    """Their scripts, as they stand, with programs that write down what they were given."""
    log = tmp_path / "log"
    for name in ("python3", "git", "rm"):
        file = tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f'#!/bin/sh\necho "{name} ${{{TOKEN}-none}}" >> {log}\n')
        file.chmod(0o755)
    environment = {
        TOKEN: "secret",
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
        "CI_PROJECT_DIR": str(tmp_path),
    }
    for name, job in list_gitlab_jobs():
        if name in ("code", "review"):
            log.write_text("")
            script = "\n".join(job["script"])
            command = ["/bin/bash", "-eo", "pipefail", "-c", script]
            subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=60)
            assert "python3 none" in log.read_text()
            assert "secret" not in log.read_text()


def test_s32_on_github_the_token_is_in_the_environment_of_one_step():
    for file in WORKFLOWS:
        workflow = load(file)
        assert TOKEN not in json.dumps({**workflow, "jobs": {}})
        for name, job in workflow["jobs"].items():
            assert TOKEN not in json.dumps({**job, "steps": []})
            for step in job["steps"]:
                text = json.dumps(step)
                own = name == "comment" and "noxfile.py -s post" in step.get("run", "")
                assert (TOKEN in text) == own
                assert ("github.token" in text) == own
                assert "secrets" not in text
