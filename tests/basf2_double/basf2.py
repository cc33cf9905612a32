"""Behaves as basf2 does, as far as steering scripts of this project can tell; its facts are those of one state.

Events are JSON: a file has `FileMetaData`, `branches` and `tree`; one of the DAQ has `records` alone. What happens when
is that of basf2 `framework/core/src/EventProcessor.cc`: the module that provides the events is asked for the first one
while the others initialise, runs begin where the run changes, metadata belong to files.
"""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace

import double_modules
from double_facts import FACTS, bind, has
from double_log import B2ERROR, B2FATAL, B2WARNING, ERRORS
from double_store import STORE

__all__ = ["B2ERROR", "B2FATAL", "B2WARNING", "AfterConditionPath", "Module", "Path", "statistics"]

AfterConditionPath = SimpleNamespace(**{name: name for name in ("END", "CONTINUE")})
statistics = "statistics"
CHAIN: list[str] = []
"""The sources of conditions, in the order in which they are asked."""


class Module:
    """A module; what is written in Python derives from it."""

    def __init__(self):
        self._type, self._name = type(self).__name__, type(self).__name__
        self._conditions, self._value, self._parameters = [], 0, {}

    def type(self):
        return self._type

    def name(self):
        return self._name

    def set_name(self, name):
        self._name = name
        return self

    def param(self, *given):
        for name, value in [given] if len(given) == 2 else given[0].items():
            if name not in self._parameters:
                raise RuntimeError(f"Cannot set parameter '{name}' for module '{self._name}'")
            self._parameters[name] = value

    def if_value(self, expression, condition_path, after_condition_path=AfterConditionPath.END):
        found = re.fullmatch(r"\s*(==|!=|>=|<=|>|<)\s*(-?\d+)\s*", expression)
        assert found, expression
        assert isinstance(condition_path, Path), condition_path
        self._conditions.append((found[1], int(found[2]), condition_path, after_condition_path))

    def has_condition(self):
        return bool(self._conditions)

    def get_all_condition_paths(self):
        return [path for _, _, path, _ in self._conditions]

    def return_value(self, value):
        assert isinstance(value, int)
        self._value = value

    def initialize(self):
        pass

    def beginRun(self):
        pass

    def event(self):
        pass

    def endRun(self):
        pass

    def terminate(self):
        pass


class Path:
    """A sequence of modules."""

    def __init__(self):
        self._modules = []

    def __contains__(self, name):
        return any(module.type() == name for module in self._modules)

    def modules(self):
        return list(self._modules)

    def add_module(self, module, logLevel=None, debugLevel=None, **parameters):
        made = register_module(module, **parameters)
        made.name()  # fails where a module of Python did not call the constructor of its base
        self._modules.append(made)
        return made


def register_module(module, **parameters):
    """A module that this state of basf2 has, or the one that is given, with parameters set."""
    if not isinstance(module, Module):
        if module not in FACTS["modules"]:
            raise RuntimeError(f"The module '{module}' is not known")
        module = double_modules.make(module)
    if parameters:
        module.param(parameters)
    return module


def create_path():
    return Path()


def set_random_seed(seed):
    STORE.seed = seed


def process(path, max_event=0):
    """Runs the event loop over a path."""
    assert max_event == 0
    modules = _list_modules(path)
    STORE.ask = list(CHAIN)
    master = None
    for module in modules:
        module.initialize()
        if master is None and STORE.registered:
            master = module
            master.event()
    if ERRORS:
        B2FATAL(f"{len(ERRORS)} ERROR(S) occurred! The processing of events will not be started.")
    STORE.initializing = False
    run, first = None, True
    while True:
        if not first and master is not None:
            master.event()
        first = False
        if STORE.event is None:
            break
        here = (STORE.event["experiment"], STORE.event["run"])
        if here != run:
            for module in modules if run is not None else ():
                module.endRun()
            for module in modules:
                module.beginRun()
            run = here
        _process_event(path, master)
        STORE.event = None
    for module in modules:
        module.endRun()
    for module in reversed(modules):
        module.terminate()


def _process_event(path, master):
    waiting = [iter(path.modules())]
    while waiting:
        module = next(waiting[-1], None)
        if module is None:
            waiting.pop()
            continue
        if module is not master:
            module.event()
        for operator, number, target, after in module._conditions:
            if _holds(module._value, operator, number):
                if after == AfterConditionPath.END:
                    waiting.clear()
                waiting.append(iter(target.modules()))
                break


def _holds(value, operator, number):
    return {
        "==": value == number,
        "!=": value != number,
        ">=": value >= number,
        "<=": value <= number,
        ">": value > number,
        "<": value < number,
    }[operator]


def _list_modules(path):
    found = []
    for module in path.modules():
        if module not in found:
            found.append(module)
        for below in module.get_all_condition_paths():
            found += [one for one in _list_modules(below) if one not in found]
    return found


def set_module_parameters(path, name=None, type=None, recursive=False, **parameters):
    """As in basf2: with `recursive` it raises wherever a path that a module leads to lacks the module."""
    found = False
    for module in path.modules():
        if (name is None or module.name() == name) and (type is None or module.type() == type):
            register_module(module, **parameters)
            found = True
        if recursive:
            for below in module.get_all_condition_paths():
                set_module_parameters(below, name, type, recursive, **parameters)
    if not found:
        raise KeyError("No module with given name found anywhere in the path")


if has("basf2.reset_database"):

    def reset_database():
        CHAIN.clear()
        STORE.chained = False

    def use_database_chain(*given, **named):
        bind("basf2.use_database_chain", *given, **named)
        STORE.chained = True

    def _use(source):
        if not STORE.chained:
            CHAIN.clear()
        CHAIN.insert(0, source)

    def use_central_database(*given, **named):
        _use(f"tag {bind('basf2.use_central_database', *given, **named)['globalTag']}")

    def use_local_database(*given, **named):
        bound = bind("basf2.use_local_database", *given, **named)
        assert bound["readonly"], "a database that may be written to is created where it is missing"
        _use(f"file {bound['filename']} {bound['directory']}".rstrip())

else:

    class _Conditions:
        def override_globaltags(self, globaltags):
            CHAIN[:] = [one for one in CHAIN if one.startswith("file")] + [f"tag {tag}" for tag in globaltags]

        def prepend_testing_payloads(self, filename):
            CHAIN.insert(0, f"file {filename}")

    conditions = _Conditions()


if __name__ == "__main__":
    sys.exit("this is a double of basf2, for tests")
