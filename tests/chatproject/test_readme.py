"""The table of settings in both READMEs, which cannot drift from the settings themselves."""

import re
from pathlib import Path

import pytest
from pydantic.alias_generators import to_camel

from chatproject.config import BASE_DIR, SECRET_FIELDS, Config, variables_of

READMES = [BASE_DIR / "README.md", BASE_DIR / "README.zh.md"]


def rows(readme: Path) -> list[list[str]]:
    """The rows of the one table with four columns: key, variables, default, meaning."""
    lines = readme.read_text("utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return [row for row in cells if len(row) == 4]


def shown_default(field: str) -> str:
    default = Config.model_fields[field].default
    if isinstance(default, bool):
        shown = str(default).lower()
    elif isinstance(default, tuple):
        shown = ", ".join(default)
    else:
        shown = f"{default:g}" if isinstance(default, float) else str(default)
    return f"`{shown}`" if shown else ""


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_every_key_stands_there_once_in_the_order_of_config_yaml(readme: Path) -> None:
    assert [row[0] for row in rows(readme)] == [f"`{to_camel(field)}`" for field in Config.model_fields]


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_every_key_has_its_variables_its_default_and_a_meaning(readme: Path) -> None:
    for field, (_, variables, default, meaning) in zip(Config.model_fields, rows(readme), strict=True):
        star = "*" if field in SECRET_FIELDS else ""
        assert variables.split() == [f"`{name}{star}`" for name in variables_of(field)], field
        assert default == shown_default(field), field
        assert meaning, field


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_every_setting_that_is_named_exists(readme: Path) -> None:
    known = {name for field in Config.model_fields for name in variables_of(field)}
    known |= {f"{name}_FILE" for field in SECRET_FIELDS for name in variables_of(field)}
    known |= {"CHAT_CONFIG_FILE", "CHAT_ENV_FILE"}
    named = set(re.findall(r"\b(?:CHAT|OPENAI)_[A-Z_]+\b", readme.read_text("utf-8")))
    assert named - known == set()
