"""The second part of the demo: productions are compared, a canary stops a bad one, and one goes to calibration and back."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

from ci.cli.exits import Exit
from ci.demo.tour import CHECKOUT, CommandFailed, Tour, clone_checkout
from schemas.files.tree import PRODUCTIONS
from schemas.policy.policy import SIGNERS

CALIBRATION = Path(PRODUCTIONS, "campaigns", "toy3", "campaign.yaml")
SITE = Path(PRODUCTIONS, "sites", "local.yaml")
BAD_RELEASE, GOOD_RELEASE = "release-05-01-09", "release-05-01-12"
"""A release that loses 5 % of the tracks, and one that loses 2 %: see `ci.demo.basf2`."""
COMMIT = "git commit --quiet --no-gpg-sign -m"


def list_lacking() -> list[str]:
    """What this part needs and this machine does not have, in words."""
    programs = {"git": "git", "ssh-keygen": "OpenSSH, whose ssh-keygen signs"}
    lacking = [told for program, told in programs.items() if shutil.which(program) is None]
    if not (CHECKOUT / ".git").exists():
        lacking.append("a clone of the repository: a copy has no commits, and what is signed is committed")
    return lacking


def take_scheme_tour(tour: Tour) -> None:
    """From two productions that are equal to one that is calibrated, and the draft of the next iteration.

    Raises:
        CommandFailed: a command failed.
    """
    if not clone_checkout(tour):
        raise CommandFailed("git clone", Exit.UNAVAILABLE)
    _prepare(tour)
    _compare(tour)
    _stop_degradation(tour)
    _sign_warning(tour)
    _hand_over(tour)
    _take_return(tour)
    _go_on(tour)
    tour.say("")


def _prepare(tour: Tour) -> None:
    tour.step("A toy sample of 12 runs is taken for raw data. It is not Belle II data.")
    tour.run("python -m ci.demo.toy sample --runs 12 --size 10")
    tour.run("b2prod runs import sample/runs.csv")
    tour.run("b2prod files import sample --level raw")
    tour.step(
        "Four campaigns, criteria and a scheme come with the demo. In place of basf2 the site starts a program of the demo, "
        "which loses some tracks, more or fewer with each release."
    )
    tour.run("cp -r ci/demo/productions .")
    add_launcher(tour.clone / SITE)
    tour.run("git diff --unified=0 productions/sites")
    tour.step(
        "Who signs has a key. The demo makes two, for two roles; then the site pins who may sign, and the criteria."
    )
    for role in ("validation", "calibration"):
        tour.run(f"ssh-keygen -q -t ed25519 -N '' -C {role}-manager@example.org -f {role}.key")
        trust_key(tour.clone / SIGNERS, tour.clone / f"{role}.key.pub")
    tour.run("git diff --stat productions/allowed_signers")
    tour.run("b2prod check")
    tour.run("git add productions")
    tour.run(f"{COMMIT} 'Toy campaigns, their criteria, and two keys'")
    tour.run("b2prod trust pin")


def _compare(tour: Tour) -> None:
    tour.step("Two releases process the same runs. A second step makes histograms of each run.")
    tour.run("b2prod resolve toy1 toy2")
    tour.run("b2prod reconcile --once toy1 toy2")
    tour.step(
        "They are compared by criteria that no campaign can change: both are the same, the verdict is pass."
    )
    tour.run("cat productions/validations/toy.yaml")
    tour.run("b2prod compare toy2/reco/cdst toy1/reco/cdst --by toy")


def _stop_degradation(tour: Tour) -> None:
    tour.step(
        "The next campaign has a release with a fault: 5 % of the tracks are lost, and nobody knows it yet. But it has a "
        "canary: four runs go first, and the others wait for the verdict on them."
    )
    tour.run("cat productions/campaigns/toy3/campaign.yaml")
    tour.run("b2prod resolve toy3")
    tour.run("b2prod reconcile --once toy3")
    tour.step("The next turn compares them with the reference. It fails: eight runs are never launched.")
    tour.run("b2prod reconcile --once toy3")
    tour.run("b2prod status toy3")
    tour.run("b2prod compare toy3/reco/cdst toy1/reco/cdst --by toy", status=1)


def _sign_warning(tour: Tour) -> None:
    tour.step(
        "The fault is corrected in the next release. The canary is made again, beside what it made before."
    )
    change_release(tour.clone / CALIBRATION)
    tour.run("git diff --unified=0 productions/campaigns/toy3/campaign.yaml")
    tour.run("b2prod resolve toy3")
    tour.run("b2prod reconcile --once toy3")
    tour.step(
        "Some tracks are still fewer: the verdict is warn, and the validation manager must say why that is right."
    )
    tour.run("b2prod reconcile --once toy3")
    tour.step(
        "The validation manager looks, and signs exactly this comparison, with a reason. A signature is a file, which is committed."
    )
    tour.run(
        "b2prod approve --canary toy3 --key validation.key --reason 'the release drops clones, BIIDP-1300'",
        typed="toy3",
    )
    tour.run("git add productions")
    tour.run(f"{COMMIT} 'The canary of toy3 is signed'")
    tour.step("Now the other eight runs follow.")
    tour.run("b2prod reconcile --once toy3")
    tour.run("b2prod status toy3")


def _hand_over(tour: Tour) -> None:
    tour.step("A scheme says what comes after what. The campaign toy4 waits until calibration has answered.")
    tour.run("cat productions/schemes/toy.yaml")
    tour.run("b2prod resolve toy4")
    tour.run("b2prod plan toy4")
    tour.run("b2prod scheme show toy")
    tour.step(
        "The data go to the calibration team: a folder that the calibration framework (CAF) of basf2 reads."
    )
    tour.run("b2prod handover toy calibrate -o handover")
    tour.run("ls handover")
    tour.run("head -n 4 handover/input_data.json")


def _take_return(tour: Tour) -> None:
    tour.step(
        "A program of the demo stands in for the CAF: it reads all files, and leaves a payload. b2prod checks what came back."
    )
    tour.run("python -m ci.demo.calibration_team calibrate handover results")
    tour.run("b2prod payloads return results --scheme toy --stage calibrate -o testing")
    tour.step(
        "The team uploads it to a global tag, which b2prod never does; here a file stands in for the conditions database. "
        "The tag is pulled, and must have exactly what was returned."
    )
    tour.run(
        "python -m ci.demo.calibration_team upload results productions/global-tags/toy_base.iov toy_final.iov"
    )
    tour.run("b2prod gt pull toy_final --from toy_final.iov --replace")
    tour.run("b2prod resolve toy4")


def _go_on(tour: Tour) -> None:
    tour.step("The calibration manager signs the gate.")
    tour.run(
        "b2prod approve --gate toy/calibrate --key calibration.key --reason 'agrees with cosmic runs'",
        typed="toy/calibrate",
    )
    tour.run("git add productions")
    tour.run(f"{COMMIT} 'The calibration is accepted'")
    tour.step("The gate is open: toy4 is made, with the new payload.")
    tour.run("b2prod reconcile --once toy4")
    tour.step(
        "Would the team rather go round once more? The next iteration is a campaign of its own, drafted for a pull request."
    )
    tour.run(f"b2prod scheme next toy --tag toy_final --release {GOOD_RELEASE}")
    tour.run(
        "diff productions/campaigns/toy3/campaign.yaml productions/campaigns/toy3b/campaign.yaml", status=1
    )
    tour.step("Where the scheme is.")
    tour.run("b2prod scheme show toy")


def add_launcher(site: Path) -> None:
    """Lets a site start the program that stands in for basf2."""
    command = json.dumps([sys.executable, "-m", "ci.demo.basf2"])
    site.write_text(f"{site.read_text('utf-8')}launchers: {{basf2: {command}}}\n", encoding="utf-8")


def trust_key(signers: Path, public: Path) -> None:
    """Puts a public key, whose comment is a person, in the place of that person's key.

    Raises:
        ValueError: the person is not in the file.
    """
    kind, key, person = public.read_text(encoding="utf-8").split()
    mine = re.compile(rf"^({re.escape(person)} \S+) .*$", re.MULTILINE)
    text, count = mine.subn(rf"\1 {kind} {key}", signers.read_text(encoding="utf-8"))
    if count != 1:
        raise ValueError(f"{person} is not once in {signers.name}")
    signers.write_text(text, encoding="utf-8")


def change_release(campaign: Path) -> None:
    """Gives the campaign the release without the fault.

    Raises:
        ValueError: the campaign no longer has the release with the fault.
    """
    text = campaign.read_text(encoding="utf-8")
    if text.count(BAD_RELEASE) != 1:
        raise ValueError(f"the demo wants to change {BAD_RELEASE} in {campaign}, and does not find it once")
    campaign.write_text(text.replace(BAD_RELEASE, GOOD_RELEASE), encoding="utf-8")
