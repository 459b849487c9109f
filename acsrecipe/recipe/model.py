"""The recipe format, as pydantic models: this tree IS the format, and ``schemas/recipe-1.json`` is made from it.

Checks that need more than a type are in :mod:`acsrecipe.recipe.rules`; they run here too, so that a recipe built in
Python obeys what a file obeys.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StrictBool, StrictInt, Tag

from acsrecipe.recipe import cards, rules
from acsrecipe.recipe.findings import checked

FORMAT: Final = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=False)


Scalar = Annotated[bool | int | float | str, BeforeValidator(rules.require_scalar)]
Condition = Annotated[bool | int | float | str | tuple[Scalar, ...], BeforeValidator(rules.require_scalar_or_list)]
Text = Annotated[str, BeforeValidator(rules.require_text)]
MemberKey = Literal["MEMTYPE", "MEMNAME"]
SwitchValue = Literal["PERFORM", "OMIT"]


class ArchiveFolder(_Part):
    """A folder that holds the exposures, as an archive would deliver them."""

    folder: Annotated[Text, checked(rules.path)] = Field(
        description="The folder with the RAW, ASN and SPT files; relative to the recipe's folder, or absolute.",
        examples=["data/"],
    )


def _archive_kind(value: Any) -> str | None:
    if isinstance(value, str):
        return "archive-name"
    return "archive-folder" if isinstance(value, dict | ArchiveFolder) else None


Archive = Annotated[
    Annotated[Literal["mast"], BeforeValidator(rules.archive_name), Tag("archive-name")]
    | Annotated[ArchiveFolder, Tag("archive-folder")],
    Discriminator(_archive_kind, custom_error_type="R013", custom_error_message='expected "mast" or a table'),
]


class Observations(_Part):
    """Which exposures, and where they come from."""

    proposal: Annotated[StrictInt | None, checked(rules.proposal)] = Field(
        default=None, description="Only exposures of this HST proposal.", examples=[10775]
    )
    ids: Annotated[tuple[Text, ...], BeforeValidator(rules.upper), checked(rules.ids)] = Field(
        default=(),
        validate_default=True,
        description="Association or exposure rootnames (IPPPSSOOT, as J9L960010), in any case; '*' and '?' stand for "
        "any characters and any one character.",
        examples=[["J9L960010"], ["J9L9*"]],
    )
    archive: Archive = Field(
        description='"mast", or a table { folder = "data/" } for files that are already here.',
        examples=["mast", {"folder": "data/"}],
    )
    products: Annotated[tuple[Text, ...], BeforeValidator(rules.upper), checked(rules.products)] = Field(
        default=("RAW", "ASN", "SPT"),
        description="Kinds of file to take from the archive.",
        examples=[["RAW", "ASN", "SPT"]],
    )


MemberFilter = Annotated[dict[str, tuple[Text, ...]], BeforeValidator(rules.upper_values), checked(rules.member_filter)]


class AssociationFilter(_Part):
    """Which rows of the association table calacs sees; the delivered table is never changed."""

    keep: MemberFilter = Field(
        default={},
        description="Keep only rows whose MEMTYPE or MEMNAME is one of these; '*' and '?' as in a file name.",
        examples=[{"MEMTYPE": ["EXP-DTH"]}],
    )
    drop: MemberFilter = Field(
        default={},
        description="Drop rows whose MEMTYPE or MEMNAME is one of these, after keep.",
        examples=[{"MEMNAME": ["J9L960A7Q"]}],
    )


class HeaderOverride(_Part):
    """Header cards to set before CRDS is asked, where a condition holds."""

    hdu: Literal["PRIMARY", "SCI"] = Field(
        default="PRIMARY", description="The primary header, or every SCI extension.", examples=["PRIMARY"]
    )
    changes_match: StrictBool = Field(
        default=False,
        description="Allow keywords that change which references CRDS chooses: DETECTOR, CCDGAIN, FILTER1 ...",
        examples=[True],
    )
    where: Annotated[dict[str, Condition], checked(cards.conditions)] = Field(
        default={},
        description="Only exposures whose keywords have these values (or one of a list of values).",
        examples=[{"FILTER1": "F606W"}, {"FILTER1": ["F606W", "F814W"], "CCDAMP": "ABCD"}],
    )
    set: Annotated[dict[str, Scalar], checked(cards.settings)] = Field(
        description="Keywords and their new values.", examples=[{"DARKTIME": 339.5}, {"EXPFLAG": "NORMAL"}]
    )
    reason: Annotated[Text, checked(rules.not_empty)] = Field(
        description="Why: shown in the plan and written to the log.", examples=["our note of March"]
    )


class References(_Part):
    """How reference files are chosen."""

    context: Annotated[Text, checked(rules.context)] = Field(
        default="latest",
        description='The CRDS context, hst_NNNN.pmap; or "latest", which a lock pins.',
        examples=["latest", "hst_1234.pmap"],
    )
    cache: Annotated[Text | None, checked(rules.path)] = Field(
        default=None,
        description="The CRDS cache, relative to the recipe's folder or absolute; without it CRDS_PATH.",
        examples=["crds/"],
    )
    server: Annotated[Text | None, checked(rules.server)] = Field(
        default=None,
        description="The CRDS server; without it CRDS_SERVER_URL, and without that only the cache is used.",
        examples=["https://hst-crds.stsci.edu"],
    )
    override: Annotated[dict[str, Text], checked(rules.reference_overrides)] = Field(
        default={},
        description="Reference keyword to a file of your own, set after CRDS has chosen.",
        examples=[{"DARKFILE": "refs/our_drk.fits"}],
    )


class Calibrate(_Part):
    """Who calibrates."""

    engine: Literal["auto", "calacs", "embedded", "none"] = Field(
        default="auto",
        description='"auto" takes calacs.e where it is installed; "none" takes the FLT or FLC files of the archive.',
        examples=["auto"],
    )
    threads: Annotated[StrictInt | None, checked(rules.threads)] = Field(
        default=None,
        description="Threads for one exposure's CTE correction; without it exposures at once share the processors.",
        examples=[2],
    )


class Provenance(_Part):
    """What products say of how they were made."""

    stamp: StrictBool = Field(
        default=True,
        description="Write into each product which recipe, plan and engine made it, and a table of the cards that were "
        "set, with the reasons; without it products are the engine's bytes.",
        examples=[True],
    )


class UpdateWcs(_Part):
    """Update the WCS of the FLT and FLC files with stwcs."""

    step: Literal["updatewcs"] = Field(description="The step's name.", examples=["updatewcs"])
    use_db: StrictBool = Field(
        default=False,
        description="Ask the astrometry database (needs a network) for a better solution.",
        examples=[False],
    )
    after: tuple[Text, ...] = Field(
        default=(),
        description="Steps that come first; without it, the order of the recipe.",
        examples=[["compare-plot"]],
    )


class ComparePlot(_Part):
    """Draw RAW beside FLT or FLC, one PNG for each exposure."""

    step: Literal["compare-plot"] = Field(description="The step's name.", examples=["compare-plot"])
    section: Annotated[tuple[StrictInt, StrictInt, StrictInt, StrictInt] | None, checked(rules.section)] = Field(
        default=None,
        description="[x0, x1, y0, y1]: pixels of the calibrated image, from 0, the end not included; without it all.",
        examples=[[1000, 1500, 200, 700]],
    )
    after: tuple[Text, ...] = Field(
        default=(), description="Steps that come first; without it, the order of the recipe.", examples=[["updatewcs"]]
    )


PostStep = Annotated[UpdateWcs | ComparePlot, Field(discriminator="step")]
STEPS: Final = ("updatewcs", "compare-plot")


class Recipe(_Part):
    """A recipe of acsrecipe: what should be true of a set of HST/ACS exposures."""

    format: Annotated[Literal[1], BeforeValidator(rules.format_number)] = Field(
        description="The version of this format.", examples=[1]
    )
    name: Annotated[Text, checked(rules.slug)] = Field(
        description="A short name: letters, digits, '-', '_', '.'; products and logs carry it.",
        examples=["ngc104-f606w"],
    )
    description: Annotated[Text, checked(rules.plain_text)] = Field(
        default="", description="What this recipe is for, in a sentence.", examples=["J9L960010 without CTE correction"]
    )
    include: Annotated[tuple[Text, ...], checked(rules.includes)] = Field(
        default=(),
        description="Recipes of shared defaults, which this one is laid over: tables are merged key by key, anything "
        "else is replaced. They hold parts of a recipe, and include nothing themselves.",
        examples=[["defaults.toml"]],
    )
    observations: Observations = Field(
        description="The exposures asked for, and the archive that has them.",
        examples=[{"ids": ["J9L960010"], "archive": "mast"}],
    )
    association: AssociationFilter = Field(
        default=AssociationFilter(),
        description="Which rows of the association calacs sees.",
        examples=[{"keep": {"MEMTYPE": ["EXP-DTH"]}}],
    )
    switches: Annotated[dict[str, SwitchValue], checked(cards.switches)] = Field(
        default={},
        description="Calibration switches to set in every exposure: PERFORM or OMIT.",
        examples=[{"PCTECORR": "OMIT"}],
    )
    headers: tuple[HeaderOverride, ...] = Field(
        default=(),
        description="Other header overrides, [[headers]], in order: of two that set a keyword, the later one holds.",
        examples=[[{"set": {"DARKTIME": 339.5}, "where": {"FILTER1": "F606W"}, "reason": "our note of March"}]],
    )
    references: References = Field(
        default=References(),
        description="The CRDS context, and reference files of your own.",
        examples=[{"context": "hst_1234.pmap", "override": {"DARKFILE": "refs/our_drk.fits"}}],
    )
    calibrate: Annotated[Calibrate, checked(rules.calibrate)] = Field(
        default=Calibrate(), description="The engine that calibrates.", examples=[{"engine": "auto"}]
    )
    post: Annotated[tuple[PostStep, ...], checked(rules.post_steps)] = Field(
        default=(),
        description="Steps after calibration, [[post]], each at most once.",
        examples=[[{"step": "updatewcs", "use_db": False}, {"step": "compare-plot"}]],
    )
    provenance: Provenance = Field(
        default=Provenance(), description="The record that products carry with them.", examples=[{"stamp": True}]
    )
    variants: Annotated[dict[str, dict[str, Any]], checked(rules.variants)] = Field(
        default={},
        description="Changes to this recipe, by name: RECIPE.toml#NAME is the recipe with them.",
        examples=[{"cte": {"switches": {"PCTECORR": "PERFORM"}}}],
    )
