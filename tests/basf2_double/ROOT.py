"""The classes of basf2 that steering scripts reach through ROOT, with the members that the facts name."""

from __future__ import annotations

from types import SimpleNamespace

from double_facts import FACTS
from double_log import B2ERROR
from double_store import STORE, FileMetaData, SoftwareTriggerResult

_OWN = {"_name", "_persistent", "_object", "__class__"}


class _PyStoreObj:
    def __init__(self, name, durability=0):
        self._name, self._persistent = name, bool(durability)

    def __getattribute__(self, name):
        if name in _OWN or name in FACTS["classes"]["Belle2.PyStoreObj"]["members"]:
            return object.__getattribute__(self, name)
        return getattr(self._object(), name)  # what it has not itself, it takes for one of the object's

    def _object(self):
        if self._persistent:
            assert self._name == "FileMetaData"
            return STORE.metadata
        found = (STORE.event or {}).get("objects", {}).get(self._name)
        return None if found is None else SoftwareTriggerResult(found)

    def isValid(self):
        return self._object() is not None

    def obj(self):
        return self._object()

    def registerInDataStore(self):
        if not STORE.initializing:
            B2ERROR("Attempt to register outside of the initialization phase")
        STORE.metadata_registered = True
        return True

    def create(self):
        if not STORE.metadata_registered or STORE.metadata is not None:
            B2ERROR("it was not registered, or is there already")
        STORE.metadata = FileMetaData()
        return True


Belle2 = SimpleNamespace(PyStoreObj=_PyStoreObj, DataStore=SimpleNamespace(c_Event=0, c_Persistent=1))
