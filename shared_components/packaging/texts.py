"""What people read in a package: its README, the licence of its data, its requirements."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from shared_components.config_references import references
from shared_components.errors import InputError
from shared_components.packaging.settings import RUN_IDS
from shared_components.packaging.versions import required_packages

NOT_STATED = "not stated by whoever made this package"
NOT_MEASURED = (
    "These weights come without figures. Score them on labelled volumes of your own before any use."
)
WIRING = ("imports", "initialize", "run")

DATA_LICENSE = """The weights in "models" were trained on: {trained_on}.
Whether and to whom weights may be given is for whoever is responsible for those images to decide.

"shared_components/data/phantoms/colin27" holds the Colin 27 average brain, to try the package with; its own licence
(BSD 3-clause) stands beside it. The other phantoms are drawn from formulas: they hold no one's data. No other image or
label is in this package.
"""


def data_license(trained_on: str) -> str:
    """``docs/data_license.txt``."""
    return DATA_LICENSE.format(trained_on=trained_on.rstrip("."))


def requirements(metadata: Mapping[str, Any]) -> str:
    """``requirements.txt``: what the metadata asks for, in pip's words."""
    return "".join(f"{name}=={version}\n" for name, version in required_packages(metadata).items())


def readme(template: str, **values: str) -> str:
    """A template with every ``{{name}}`` replaced.

    Raises:
        InputError: the template has a name without a value.
    """
    absent = sorted(set(re.findall(r"{{(\w+)}}", template)) - set(values))
    if absent:
        raise InputError(f"docs/package.md: expected {sorted(values)} in double braces, found {absent[0]}")
    return re.sub(r"{{(\w+)}}", lambda match: values[match[1]], template)


def settings_table(config: Mapping[str, Any]) -> str:
    """Markdown table of the plain values of a config."""
    rows = [f"| `{key}` | `{_shown(value)}` |" for key, value in config.items() if _is_setting(key, value)]
    return "\n".join(["| setting | value |", "|---|---|", *rows])


def _is_setting(key: str, value: Any) -> bool:
    plain = not references(value) and "_target_" not in str(value) and not str(value).startswith("$")
    return plain and key not in RUN_IDS and key not in WIRING and "$" not in str(value)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, Mapping) else str(dict(value))
