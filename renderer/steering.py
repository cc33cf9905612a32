"""Steering scripts: reads and renders templates, and checks that values change nothing but constants of a script."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

from schemas.files.canonical import digest
from schemas.json_schema.validation import load_schema, validate
from schemas.manifest.deviation import Parameter
from schemas.manifest.template import Era, Template, read_eras, read_template
from schemas.yaml.document import Document, read_yaml

TEMPLATES = Path(__file__).parent / "templates"
ERAS = "eras.yaml"
PATHS = "paths.json"
"""The modules that functions of basf2 add to a path, by era."""
BASES = "bases"

_JOINED = re.compile(r'\{% *(?:extends|include) "([^"]+)"')
_ADDED = re.compile(r'\.add_module\(\s*"([A-Za-z0-9_]+)"')
_REAL = ("declareRealData()", "mc=False", ".mc = False", '"mc": False')
"""Texts by which a script declares that its output is real data, or leaves out what only simulated events have."""
_HELD = 'use_local_database(job["local_conditions"]'
"""The text by which a script of a release before 04 reads only the payloads of its run."""
_BEFORE = '"before_prescale"'
"""The text by which a script asks for the decision before the prescale."""
_IMPORTED = re.compile(r"^from (?!ROOT\b)[\w.]+ import (.+)$", re.MULTILINE)


class TemplateBroken(Exception):
    """A template of this repository cannot be read or rendered: its author must correct it."""


@cache
def load_templates() -> Mapping[str, Template]:
    """The steering templates of b2prod by `NAME/VERSION`; each is read when it is asked for, once per process.

    Most commands ask for a few. To read all of them takes longer than to check a repository.

    Raises:
        TemplateBroken: see `read_templates`; also where a template is asked for.
    """
    return _Templates(TEMPLATES)


def read_templates(folder: Path) -> dict[str, Template]:
    """The steering templates in a folder by `NAME/VERSION`, from `NAME/VERSION.yaml` and `NAME/VERSION.py.j2`.

    Raises:
        TemplateBroken: a description does not satisfy its schema, its text is missing, or it names an unknown era.
    """
    return dict(_Templates(folder))


class _Templates(Mapping[str, Template]):
    """The templates of a folder, as `read_templates` gives them; each is read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = {f"{file.parent.name}/{file.stem}": file for file in sorted(folder.glob("*/*.yaml"))}
        self._known: dict[str, Template] = {}

    def __getitem__(self, name: str) -> Template:
        if name not in self._known:
            self._known[name] = self._read(name, self._files[name])
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    @cached_property
    def _eras(self) -> Mapping[str, Era]:
        return load_eras(self._folder)

    @cached_property
    def _paths(self) -> Mapping[str, Mapping[str, Sequence[str]]]:
        return _load_paths(self._folder)

    def _read(self, name: str, file: Path) -> Template:
        document = _read(file, "template")
        text = file.with_suffix(".py.j2")
        if not text.exists():
            raise TemplateBroken(f"{name}: the text {text.name} is missing")
        named = document.data.get("era", [])
        named = [named] if isinstance(named, str) else named
        if not set(named) <= self._eras.keys() or not (named or "releases" in document.data):
            raise TemplateBroken(f"{name}: it names no era of {ERAS}, and no releases")
        template = read_template(name, document, text.read_text(), [self._eras[era] for era in named])
        whole = _join_text(template, self._folder)
        return replace(
            template,
            modules=_find_modules(whole, [self._paths.get(era, {}) for era in named]),
            declares_real=any(word in whole for word in _REAL),
            holds_payloads=_HELD in whole,
            knows_prescales=_BEFORE in whole,
        )


def _load_paths(folder: Path) -> Mapping[str, Mapping[str, Sequence[str]]]:
    """Era → function → names of the modules that it adds to a path; empty if the folder has no file `PATHS`."""
    file = folder / PATHS
    if not file.exists():
        return {}
    return {era: known["functions"] for era, known in json.loads(file.read_bytes())["eras"].items()}


def _join_text(template: Template, folder: Path) -> str:
    """The text of a template, followed by the texts that it extends or includes."""
    text, joined = template.text, set[str]()
    while missing := set(_JOINED.findall(text)) - joined:
        joined |= missing
        text += "".join((folder / BASES / name).read_text() for name in sorted(missing))
    return text


def _find_modules(text: str, eras: Sequence[Mapping[str, Sequence[str]]]) -> frozenset[str] | None:
    """The names of the modules in a path, over all eras; None if the modules of an imported function are not known."""
    called = {name.strip() for names in _IMPORTED.findall(text) for name in names.split(",")}
    if not eras or any(not called <= functions.keys() for functions in eras):
        return None
    added = (functions[name] for functions in eras for name in called)
    return frozenset(_ADDED.findall(text)).union(*added)


def load_eras(folder: Path = TEMPLATES) -> dict[str, Era]:
    """The eras of a folder of templates, by name; empty if it has no file `ERAS`.

    Raises:
        TemplateBroken: the file does not satisfy the schema `eras/1`.
    """
    return read_eras(_read(folder / ERAS, "eras")) if (folder / ERAS).exists() else {}


def _read(file: Path, schema: str) -> Document:
    shown = f"{file.parent.name}/{file.name}"
    document, findings = read_yaml(shown, file.read_bytes())
    if document is not None and not findings:
        findings = validate(document, load_schema(schema))
    if document is None or findings:
        raise TemplateBroken("\n".join(map(str, findings)))
    return document


def render_steering(template: Template, settings: Mapping[str, Parameter]) -> str:
    """The steering script of `template`, with each value of `settings` as a Python literal.

    Raises:
        TemplateBroken: the template uses a setting that is missing, the result is not Python, or a value
            changes more than constants of the script.
    """
    # 1, 1.0 and True are equal, so are 0.0 and -0.0: the literal keeps them apart in the cache
    spelled = tuple((name, value, ascii(value)) for name, value in settings.items())
    return _render_proven(template.name, template.text, spelled)


@lru_cache(maxsize=256)  # many steps have the same script
def _render_proven(name: str, source: str, spelled: tuple[tuple[str, Parameter, str], ...]) -> str:
    text = _render(name, source, {key: value for key, value, _ in spelled})
    plain = _render(name, source, {key: _placeholder(value) for key, value, _ in spelled})
    if _shape(text) != _shape(plain):
        raise TemplateBroken(f"{name}: a value changed more than a constant of the script")
    return text


@lru_cache(maxsize=256)
def digest_steering(text: str) -> str:
    """The digest of a script's syntax tree: comments, blanks and the version of Python do not change it."""
    return digest(_tree(ast.parse(text), constants=True))


def _render(name: str, source: str, settings: Mapping[str, Parameter]) -> str:
    from renderer.filled_text import fill_text  # noqa: PLC0415 -- jinja2 loads slowly, and most commands render nothing

    try:
        return fill_text(source, settings, TEMPLATES / BASES)
    except ValueError as error:
        raise TemplateBroken(f"{name}{error}") from error


def _placeholder(value: Parameter) -> Parameter:
    """An empty value of the same type."""
    if isinstance(value, tuple):
        return tuple(type(item)() for item in value)
    return type(value)()


def _shape(text: str) -> Any:
    try:
        return _tree(ast.parse(text), constants=False)
    except (SyntaxError, ValueError) as error:
        raise TemplateBroken(f"the rendered script is not Python: {error}") from error


def _tree(node: Any, *, constants: bool) -> Any:
    """A syntax tree as JSON data, without empty fields, since newer versions of Python add fields."""
    if isinstance(node, ast.Constant):
        return ["Constant", ascii(node.value) if constants else type(node.value).__name__]
    if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant) and not constants:
        return ["Constant", type(node.operand.value).__name__]  # -1 is an operator and a constant
    if isinstance(node, ast.AST):
        fields = {name: _tree(value, constants=constants) for name, value in ast.iter_fields(node)}
        fields.pop("kind", None)
        return [type(node).__name__, {name: one for name, one in fields.items() if one not in (None, [])}]
    if isinstance(node, list):
        return [_tree(item, constants=constants) for item in node]
    return node
