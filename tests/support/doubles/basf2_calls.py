"""Compares a steering script, every call and every omitted parameter, with the facts of one state of basf2.

The facts (`basf2_facts/`) come from the sources of basf2, not from a table of this project, so that a script and our
description of basf2 cannot have the same error.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

METHODS = {
    "add_module": "basf2.Path.add_module",
    "modules": "basf2.Path.modules",
    **{
        name: f"basf2.Module.{name}"
        for name in ("if_value", "return_value", "param", "name", "has_condition", "get_all_condition_paths")
    },
}
"""Method name → the basf2 method that scripts call; no two classes that are used here share a name."""
MEMBERS = {
    "registerInDataStore": "Belle2.PyStoreObj",
    "isValid": "Belle2.PyStoreObj",
    "create": "Belle2.PyStoreObj",
    "obj": "Belle2.PyStoreObj",
    "declareRealData": "Belle2.FileMetaData",
    "getResults": "Belle2.SoftwareTriggerResult",
    "getNonPrescaledResults": "Belle2.SoftwareTriggerResult",
    "mc": "skim.core.BaseSkim",
}
"""The same for classes of which only the members are facts."""
RETURNED = {"skim.registry.Registry.get_skim_function": "skim.core.BaseSkim"}
"""Function → the class that it returns, if that is called too."""
PYTHON = {"json", "sys", *dir(builtins)}
PLAIN = {"items", "get", "append", "count", "__init__"}
"""Methods of Python's own objects, and `count` of a std::map."""
FRAMEWORK = {"basf2.Module", "basf2.statistics"}
"""Names that are not functions: the base class of Python modules, and the statistics."""

Facts = Mapping[str, Any]


@dataclass
class Judgement:
    """What is wrong with a script in a state of basf2, and which facts were used.

    A fact is named by its table, its row, and the parameter, member or value; `omitted` follows for a parameter that the script
    leaves out, `placed` for one that is given by position.
    """

    complaints: list[str] = field(default_factory=list)
    used: set[tuple[str, ...]] = field(default_factory=set)


def judge(script: str, state: Facts, omissions: Facts) -> Judgement:
    """Compares every call, member and omission of a script with a state of basf2."""
    judge = _Judge(_read(script), state, omissions)
    judge.run()
    return judge.judgement


def dotted(node: ast.AST) -> str | None:
    """The dotted name of an expression, or None."""
    if isinstance(node, ast.Attribute):
        root = dotted(node.value)
        return None if root is None else f"{root}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else None


def imported(tree: ast.AST) -> dict[str, str]:
    """Imported name → what it stands for."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
        elif isinstance(node, ast.Import):
            found |= {one.asname or one.name: one.name for one in node.names}
    return found


class _Script:
    """A script's syntax tree, with indices for repeated questions."""

    def __init__(self, script: str) -> None:
        self.tree = ast.parse(script)
        nodes = list(ast.walk(self.tree))
        self.names = imported(self.tree)
        self.parents = {below: node for node in nodes for below in ast.iter_child_nodes(node)}
        self.calls = [node for node in nodes if isinstance(node, ast.Call)]
        self.attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
        self.local = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        self.assigned = {
            node.targets[0].id: node.value
            for node in nodes
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }


_read = cache(_Script)


class _Judge:
    def __init__(self, script: _Script, state: Facts, omissions: Facts) -> None:
        self.script, self.state, self.omissions = script, state, omissions
        self.judgement = Judgement()

    def run(self) -> None:
        for call in self.script.calls:
            self._judge_call(call)
        for attribute in self.script.attributes:
            self._judge_member(attribute)

    def _complain(self, node: ast.AST, text: str) -> None:
        self.judgement.complaints.append(f"line {getattr(node, 'lineno', 0)}: {text}")

    def _full(self, node: ast.AST) -> str | None:
        """The full name of an imported thing; None for anything else."""
        spelled = dotted(node)
        root, _, rest = (spelled or "").partition(".")
        if root not in self.script.names:
            return None
        return f"{self.script.names[root]}.{rest}".rstrip(".").removeprefix("ROOT.")

    def _judge_call(self, node: ast.Call) -> None:
        called = self._find_called(node)
        if called is None or called.partition(".")[0] in PYTHON:
            return
        if called not in self.state["functions"]:
            if called.startswith("Belle2.") and called in self.state["classes"]:
                return
            self._complain(node, f"there is no {called}")
            return
        self.judgement.used.add(("functions", called))
        parameters = self.state["functions"][called]["parameters"]
        if called != METHODS["add_module"]:
            for keywords in self._find_keywords(node):
                self._judge_arguments(node, "functions", called, parameters, node.args, keywords)
            return
        own = [one for one in node.keywords if one.arg in parameters]
        self._judge_arguments(node, "functions", called, parameters, node.args, own)
        rest = [one for one in node.keywords if one.arg not in parameters]
        module = self._read_literal(node.args[0]) if node.args else None
        if isinstance(module, str) and module in self.state["modules"]:
            self.judgement.used.add(("modules", module))
            parameters = self.state["modules"][module]["parameters"]
            self._judge_arguments(node, "modules", module, parameters, [], rest)
        elif isinstance(module, str):
            self._complain(node, f"there is no module {module}")
        elif rest:
            self._complain(node, "parameters are given of a module that nothing is known of")

    def _find_called(self, node: ast.Call) -> str | None:
        """The name of what is called, as in the facts; None if it belongs to the script or to Python."""
        if (full := self._full(node.func)) is not None:
            return full
        if isinstance(node.func, ast.Call):
            inner = self._find_called(node.func)
            return RETURNED.get(inner or "", f"result of {inner}")
        if isinstance(node.func, ast.Name):
            name = node.func.id
            value = self.script.assigned.get(name)
            if isinstance(value, ast.Call):
                return f"{self._find_called(value)}.__call__"
            return None if name in self.script.local or name in PYTHON else name
        assert isinstance(node.func, ast.Attribute)
        method = _spell_plain(node.func.attr)
        return None if method in MEMBERS or method in PLAIN else METHODS.get(method, f"method {method}")

    def _find_keywords(self, node: ast.Call) -> Iterator[list[ast.keyword]]:
        """The keywords of a call as written; for `**options`, once for each call of the function around it."""
        plain = [one for one in node.keywords if one.arg is not None]
        if len(plain) == len(node.keywords):
            yield plain
            return
        around: ast.AST = node
        while not isinstance(around, ast.FunctionDef):
            if around not in self.script.parents:
                yield plain  # a job's further keywords are checked by release: schemas/skims/global_tags.py
                return
            around = self.script.parents[around]
        own = {one.arg for one in around.args.args}
        for call in self.script.calls:
            if dotted(call.func) == around.name:
                yield [*plain, *(one for one in call.keywords if one.arg not in own)]

    def _judge_arguments(
        self,
        node: ast.Call,
        table: str,
        called: str,
        parameters: Mapping[str, str | None],
        given: list[ast.expr],
        keywords: list[ast.keyword],
    ) -> None:
        plain = [name for name in parameters if not name.startswith("*")]
        bound: dict[str, ast.expr] = {}
        if not any(name.startswith("*") and not name.startswith("**") for name in parameters):
            if len(given) > len(plain):
                self._complain(node, f"{called} takes {len(plain)} arguments by position, not {len(given)}")
            bound = dict(zip(plain, given, strict=False))
        for one in keywords:
            assert one.arg is not None
            if one.arg not in plain:
                self._complain(node, f"{called} has no parameter {one.arg}")
            elif one.arg in bound:
                self._complain(node, f"{called} is given {one.arg} twice")
            bound[one.arg] = one.value
        for name in plain:
            if name in bound:
                placed = ("placed",) if any(bound[name] is one for one in given) else ()
                self.judgement.used.add((table, called, name, *placed))
                self._judge_value(node, called, name, bound[name])
            elif parameters[name] is None:
                self._complain(node, f"{called} needs {name}")
            else:
                self._judge_omission(node, table, called, name, parameters[name])

    def _judge_omission(
        self, node: ast.Call, table: str, called: str, name: str, default: str | None
    ) -> None:
        self.judgement.used.add((table, called, name, "omitted"))
        meant = self.omissions[table].get(called, {}).get(name)
        if meant is None:
            self._complain(
                node, f"{called} is not told {name}, whose default is {default}, and nobody says why"
            )
            return
        defaults = meant["default"] if isinstance(meant["default"], list) else [meant["default"]]
        if default not in defaults:
            said = " or ".join(defaults)
            self._complain(
                node, f"{called} is not told {name}, whose default is {default}, where {said} is meant"
            )

    def _judge_value(self, node: ast.Call, called: str, name: str, value: ast.expr) -> None:
        """A literal value must be a known one, if the facts list the values."""
        row = next((one for one in (f"{called}.{name}", name) if one in self.state["values"]), None)
        read = self._read_literal(value)
        if row is None or read is None:
            return
        for one in read if isinstance(read, list) else [read]:
            self.judgement.used.add(("values", row, str(one)))
            if one not in self.state["values"][row]["values"]:
                self._complain(node, f"{called} knows no {name} {one}")

    def _read_literal(self, node: ast.expr) -> Any:
        """The value of a literal expression; None if it is computed."""
        if isinstance(node, ast.Name) and node.id in self.script.assigned:
            return self._read_literal(self.script.assigned[node.id])
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            return next((one for one in map(self._read_literal, node.values) if one), None)
        try:
            return ast.literal_eval(node)
        except ValueError:
            return None

    def _judge_member(self, node: ast.Attribute) -> None:
        parent = self.script.parents[node]
        full = self._full(node)
        if isinstance(parent, ast.Attribute) and full is not None:
            return  # a part of a longer name
        if full is not None:
            if full in FRAMEWORK or full.partition(".")[0] in PYTHON:
                return
            if isinstance(parent, ast.Call) and parent.func is node and full in self.state["functions"]:
                return
            row, _, member = full.rpartition(".")
            if full in self.state["classes"]:
                self.judgement.used.add(("classes", full))
            elif member in self.state["classes"].get(row, {"members": ()})["members"]:
                self.judgement.used.add(("classes", row, member))
            else:
                self._complain(node, f"there is no {full}")
        elif (row := MEMBERS.get(member := _spell_plain(node.attr), "")) and not _is_own(node):
            if member in self.state["classes"].get(row, {"members": ()})["members"]:
                self.judgement.used.add(("classes", row, member))
            else:
                self._complain(node, f"{row} has no {member}")


def _spell_plain(member: str) -> str:
    """A member's name in C++; PyROOT writes private ones as `_Class__name`."""
    return member.rpartition("__")[2] if member.startswith("_") and not member.startswith("__") else member


def _is_own(node: ast.Attribute) -> bool:
    """Whether it is an attribute of the script's own module."""
    return isinstance(node.value, ast.Name) and node.value.id == "self"
