"""YAML as people mean it: a key given twice is refused, and so is a value that YAML would read as something else.

PyYAML takes the last of two equal keys, and YAML 1.1 reads `no` as false, `01` as 1, `1:30` as 90 and `2024-01-01` as a
date. Where every value is a name (a label, a column), these are never what was meant.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

_FAST: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's where there: ten times as fast.


class _Unique(yaml.constructor.SafeConstructor):
    """Refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The mapping of a node."""
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                problem = f"the key {key.value!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return dict(super().construct_mapping(node, deep=deep))


class UniqueKeys(_Unique, _FAST):  # type: ignore[misc]
    """A safe loader, for files of the project, that refuses a key given twice."""


class AsWritten(_Unique, yaml.SafeLoader):
    """A safe loader that also refuses an unquoted value which YAML reads as another than the one written.

    For files of the user: what is nested too deeply ends in a RecursionError, where libyaml ends the process.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401
        """The value of a node; numbers are well as long as they print as they are written."""
        value = super().construct_object(node, deep=deep)
        if not isinstance(node, yaml.ScalarNode) or isinstance(value, str) or not node.value:
            return value
        if isinstance(value, int | float) and not isinstance(value, bool) and str(value) == node.value:
            return value
        problem = f'YAML reads {node.value} as {value!r}: quote it, "{node.value}", if it is a name'
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
