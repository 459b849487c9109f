"""The cards of RAW, SPT and ASN files, as an archive delivers them."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from dataclasses import dataclass

from acsrecipe.demo.distortion import PIXEL_SCALE, chip_offset
from acsrecipe.demo.fitsfile import Card
from acsrecipe.demo.geometry import PRESCAN, Window
from acsrecipe.demo.modes import Mode
from acsrecipe.demo.scene import DITHERS

TARGET = ("NGC104-FIELD", 5.655, -72.0706)
"""TARGNAME, RA_TARG, DEC_TARG (degrees) of sky exposures."""
PA_V3 = 337.1
PROPOSAL = 10775
SPACING = 700.0
"""Seconds from one exposure's start to the next."""
SDQFLAGS = 31743
_BLANK = " " * 8
_ORIENTATION = PA_V3 - 182.55
"""Position angle of the detector's y axis, degrees."""


@dataclass(frozen=True)
class Observed:
    """One exposure of a data set: who it is, and what its header has to say."""

    rootname: str
    number: int
    """Counted from 0."""
    count: int
    association: str
    mode: Mode
    references: Mapping[str, str]
    """Reference keywords and what an old pipeline wrote there."""
    context: str
    """The CRDS context of that pipeline."""

    @property
    def dither(self) -> tuple[float, float]:
        """Offset in pixels (x, y) from the first pointing; only dithered exposures have one."""
        return DITHERS[self.number % len(DITHERS)] if self.mode.member == "EXP-DTH" else (0.0, 0.0)

    @property
    def expstart(self) -> float:
        """MJD."""
        return self.mode.expstart + self.number * (self.mode.exptime + SPACING) / 86400

    @property
    def targname(self) -> str:
        """BIAS and DARK frames are called so; calacs goes by it."""
        return TARGET[0] if self.mode.imagetyp == "EXT" else self.mode.imagetyp


def switches(mode: Mode) -> dict[str, str]:
    """Give the calibration switches as the archive delivers them; CTE correction is on, as it is there."""
    sky = mode.imagetyp == "EXT"
    on = {
        "DQICORR": True,
        "ATODCORR": False,
        "BLEVCORR": True,
        "BIASCORR": True,
        "FLSHCORR": mode.flashdur > 0,
        "CRCORR": mode.member == "EXP-CRJ",
        "EXPSCORR": sky,
        "SHADCORR": False,
        "DARKCORR": sky,
        "FLATCORR": sky,
        "PHOTCORR": sky,
        "RPTCORR": mode.member == "EXP-RPT",
        "DRIZCORR": sky and bool(mode.member),
        "PCTECORR": sky,
        "SINKCORR": mode.sink,
    }
    return {name: "PERFORM" if wanted else "OMIT" for name, wanted in on.items()}


def _title(text: str) -> list[Card]:
    return [("", ""), ("", f"      / {text}"), ("", "")]


def primary_cards(observed: Observed) -> list[Card]:
    """Give the primary header of a RAW, without structural cards."""
    mode = observed.mode
    start = datetime.datetime(1858, 11, 17, tzinfo=datetime.UTC) + datetime.timedelta(days=observed.expstart)
    gain: float = mode.ccdgain if mode.after_sm4 else int(mode.ccdgain)
    sky = mode.imagetyp == "EXT"
    return [
        ("NEXTEND", 3 if mode.is_subarray else 6, "number of extensions"),
        ("DATE", f"{start:%Y-%m-%d}", "date this file was written"),
        ("FILENAME", f"{observed.rootname}_raw.fits", "name of file"),
        ("FILETYPE", "SCI", "type of data"),
        ("TELESCOP", "HST", "telescope"),
        ("INSTRUME", "ACS", "instrument"),
        ("EQUINOX", 2000.0, "equinox of the coordinates"),
        *_title("DATA DESCRIPTION KEYWORDS"),
        ("ROOTNAME", observed.rootname, "rootname of the exposure"),
        ("IMAGETYP", mode.imagetyp, "type of exposure"),
        ("PRIMESI", "ACS", "prime instrument"),
        *_title("TARGET INFORMATION"),
        ("TARGNAME", observed.targname, "target, as proposed"),
        ("RA_TARG", TARGET[1], "right ascension of the target (deg)"),
        ("DEC_TARG", TARGET[2], "declination of the target (deg)"),
        *_title("PROPOSAL INFORMATION"),
        ("PROPOSID", PROPOSAL, "proposal"),
        ("LINENUM", f"60.{observed.number + 1:03d}", "line of the proposal"),
        ("PR_INV_L", "Synthetic", "last name of the principal investigator"),
        *_title("EXPOSURE INFORMATION"),
        ("SUNANGLE", 82.1, "angle between sun and V1 axis"),
        ("MOONANGL", 84.5, "angle between moon and V1 axis"),
        ("SUN_ALT", -16.8, "altitude of the sun above Earth's limb"),
        ("FGSLOCK", "FINE", "commanded FGS lock"),
        ("MTFLAG", _BLANK, "moving target"),
        ("DATE-OBS", f"{start:%Y-%m-%d}", "UT date of the start"),
        ("TIME-OBS", f"{start:%H:%M:%S}", "UT time of the start"),
        ("EXPSTART", observed.expstart, "start (Modified Julian Date)"),
        ("EXPEND", observed.expstart + mode.exptime / 86400, "end (Modified Julian Date)"),
        ("EXPTIME", mode.exptime, "exposure time (seconds)"),
        ("EXPFLAG", "NORMAL", "interruptions"),
        ("DARKTIME", mode.exptime + mode.flashdur, "dark time (seconds)"),
        *_title("POINTING INFORMATION"),
        ("PA_V3", PA_V3, "position angle of the V3 axis (deg)"),
        *_title("TARGET OFFSETS (POSTARGS)"),
        ("POSTARG1", round(observed.dither[0] * PIXEL_SCALE, 4), "POSTARG along x (arcsec)"),
        ("POSTARG2", round(observed.dither[1] * PIXEL_SCALE, 4), "POSTARG along y (arcsec)"),
        *_title("DIAGNOSTIC KEYWORDS"),
        ("OPUS_VER", "synthetic", "data processing system"),
        ("CSYS_VER", "synthetic", "calibration system"),
        ("CAL_VER", _BLANK, "CALACS code version"),
        ("PROCTIME", observed.expstart + 30, "pipeline processing time (MJD)"),
        *_title("SCIENCE INSTRUMENT CONFIGURATION"),
        ("OBSTYPE", "IMAGING" if sky else "INTERNAL", "imaging or internal"),
        ("OBSMODE", "ACCUM", "operating mode"),
        ("CTEIMAGE", "NONE", "type of charge transfer image"),
        ("SCLAMP", "NONE", "lamp"),
        ("NRPTEXP", observed.count if mode.member == "EXP-RPT" else 1, "number of repeated exposures"),
        ("SUBARRAY", mode.is_subarray, "a subarray (T) or the full frame (F)"),
        ("DETECTOR", "WFC", "detector"),
        ("FILTER1", mode.filters[0], "filter wheel 1"),
        ("FW1OFFST", 0, "offset of wheel 1"),
        ("FW1ERROR", False, "error of wheel 1"),
        ("FILTER2", mode.filters[1], "filter wheel 2"),
        ("FW2OFFST", 0, "offset of wheel 2"),
        ("FW2ERROR", False, "error of wheel 2"),
        ("FWSOFFST", 0, "offset of the SBC wheel"),
        ("FWSERROR", False, "error of the SBC wheel"),
        ("LRFWAVE", mode.lrfwave, "central wavelength of a ramp filter (Angstrom)"),
        ("APERTURE", mode.aperture, "aperture"),
        ("PROPAPER", mode.aperture, "aperture, as proposed"),
        ("DIRIMAGE", "NONE", "direct image for a grism"),
        ("CTEDIR", "NONE", "CTE measurement direction"),
        ("CRSPLIT", observed.count if mode.member == "EXP-CRJ" else 1, "number of cosmic ray split exposures"),
        ("JWROTYPE", mode.jwrotype, "CCD readout type"),
        *_title("CALIBRATION SWITCHES: PERFORM, OMIT, COMPLETE"),
        ("STATFLAG", False, "calculate statistics"),
        ("WRTERR", True, "write the error array"),
        *[(name, value, _SWITCHES[name]) for name, value in switches(mode).items()],
        *_title("CALIBRATION REFERENCE FILES"),
        *[(name, f"{observed.references.get(name, 'N/A'):<23}", _REFERENCES[name]) for name in _REFERENCES],
        ("CRDS_CTX", observed.context, "CRDS context of the references"),
        ("CRDS_VER", "12.0.0, synthetic", "CRDS version"),
        *_title("COSMIC RAY REJECTION ALGORITHM PARAMETERS"),
        ("MEANEXP", 0.0, "reference exposure time for parameters"),
        ("SCALENSE", 0.0, "multiplicative scale factor of noise"),
        ("INITGUES", _BLANK, "initial guess method"),
        ("SKYSUB", _BLANK, "sky value subtracted"),
        ("SKYSUM", 0.0, "sky level of the sum of all"),
        ("CRSIGMAS", _BLANK, "statistical rejection criteria"),
        ("CRRADIUS", 0.0, "rejection propagation radius (pixels)"),
        ("CRTHRESH", 0.0, "rejection propagation threshold"),
        ("BADINPDQ", 0, "data quality flags to reject"),
        ("REJ_RATE", 0.0, "rate at which pixels are hit"),
        ("CRMASK", False, "flag rejected pixels in the inputs"),
        ("MDRIZSKY", 0.0, "sky value computed by AstroDrizzle"),
        *_title("POST FLASH PARAMETERS"),
        ("FLASHDUR", mode.flashdur, "flash exposure time (seconds)"),
        ("FLASHCUR", "LOW" if mode.flashdur else "OFF", "flash current"),
        ("FLASHSTA", "SUCCESSFUL" if mode.flashdur else "NOT PERFORMED", "flash status"),
        ("SHUTRPOS", "A", "shutter position"),
        *_title("ENGINEERING PARAMETERS"),
        ("CCDAMP", mode.ccdamp, "amplifiers read out"),
        ("CCDGAIN", gain, "commanded gain"),
        *[(f"CCDOFST{amp}", 3, f"commanded offset of amplifier {amp}") for amp in "ABCD"],
        *_title("CALIBRATED ENGINEERING PARAMETERS"),
        *[(f"{name}{amp}", 0.0) for name in ("ATODGN", "READNSE", "BIASLEV") for amp in "ABCD"],
        *_title("ASSOCIATION KEYWORDS"),
        ("ASN_ID", observed.association.upper() or "NONE", "association"),
        ("ASN_TAB", f"{observed.association}_asn.fits" if observed.association else "NONE", "association table"),
        ("ASN_MTYP", mode.member or _BLANK, "role in the association"),
    ]


_SWITCHES = {
    "DQICORR": "data quality initialization",
    "ATODCORR": "A to D conversion",
    "BLEVCORR": "bias level from the overscan",
    "BIASCORR": "bias image",
    "FLSHCORR": "post flash",
    "CRCORR": "combine to reject cosmic rays",
    "EXPSCORR": "process exposures after rejection, too",
    "SHADCORR": "shutter shading",
    "DARKCORR": "dark image",
    "FLATCORR": "flat field",
    "PHOTCORR": "photometric keywords",
    "RPTCORR": "add repeated exposures",
    "DRIZCORR": "drizzle",
    "PCTECORR": "charge transfer efficiency",
    "SINKCORR": "flag sink pixels",
}
_REFERENCES = {
    "BPIXTAB": "bad pixel table",
    "CCDTAB": "CCD parameters",
    "ATODTAB": "analog to digital table",
    "OSCNTAB": "overscan table",
    "BIASFILE": "bias image",
    "FLSHFILE": "post flash image",
    "CRREJTAB": "cosmic ray rejection parameters",
    "SHADFILE": "shutter shading",
    "DARKFILE": "dark image",
    "PFLTFILE": "pixel to pixel flat",
    "DFLTFILE": "delta flat",
    "LFLTFILE": "low order flat",
    "IMPHTTAB": "photometry table",
    "IDCTAB": "distortion table",
    "DGEOFILE": "distortion image",
    "MDRIZTAB": "drizzle parameters",
    "CFLTFILE": "coronagraphic spot image",
    "SPOTTAB": "coronagraphic spot table",
    "D2IMFILE": "column correction",
    "NPOLFILE": "non-polynomial distortion",
    "PCTETAB": "CTE parameters",
    "DRKCFILE": "dark for CTE-corrected data",
    "SNKCFILE": "sink pixel map",
    "SATUFILE": "full-well saturation map",
}


def extension_cards(observed: Observed, window: Window, name: str, number: int) -> list[Card]:
    """Give the header of one extension (``SCI``, ``ERR`` or ``DQ``) of imset `number`."""
    cards: list[Card] = [
        ("INHERIT", True, "inherit the primary header"),
        ("EXTNAME", name),
        ("EXTVER", number),
        ("ROOTNAME", observed.rootname),
        ("EXPNAME", observed.rootname, "exposure"),
        ("DATAMIN", 0.0, "minimum"),
        ("DATAMAX", 0.0, "maximum"),
        ("BUNIT", "UNITLESS" if name == "DQ" else "COUNTS", "unit"),
    ]
    if name != "SCI":
        constant: object = 0 if name == "DQ" else 0.0
        cards += [("NPIX1", window.nx), ("NPIX2", window.ny), ("PIXVALUE", constant, "value of all pixels")]
    cards += [*_title("WFC CCD CHIP IDENTIFICATION"), ("CCDCHIP", window.chip, "chip (1 or 2)")]
    cards += _wcs_cards(observed, window)
    if name == "SCI":
        cards += _readout_cards(window)
    cards += [
        *_title("IMAGE STATISTICS AND DATA QUALITY FLAGS"),
        ("NGOODPIX", 0, "number of good pixels"),
        ("SDQFLAGS", SDQFLAGS, "serious data quality flags"),
        ("GOODMIN", 0.0, "minimum of good pixels"),
        ("GOODMAX", 0.0, "maximum of good pixels"),
        ("GOODMEAN", 0.0, "mean of good pixels"),
    ]
    if name == "SCI":
        more = ("SNRMIN", "SNRMAX", "SNRMEAN", "MEANDARK", "MEANBLEV", "MEANFLSH")
        cards += [("SOFTERRS", 0, "number of soft errors"), *[(word, 0.0) for word in more]]
    return cards


def _wcs_cards(observed: Observed, window: Window) -> list[Card]:
    """Describe a tangent plane without distortion; updatewcs makes a better one."""
    ny, nx = window.geometry.chip_shape
    angle = math.radians(_ORIENTATION)
    scale = PIXEL_SCALE / 3600
    # y points along the position angle, x a quarter turn from it, and right ascension grows to the left.
    cd = (-math.cos(angle) * scale, math.sin(angle) * scale, math.sin(angle) * scale, math.cos(angle) * scale)
    across, along = (-offset for offset in observed.dither)
    along += (0.5 if window.chip == 1 else -0.5) * chip_offset(window.geometry)
    ra = TARGET[1] + (cd[0] * across + cd[1] * along) / math.cos(math.radians(TARGET[2]))
    dec = TARGET[2] + cd[2] * across + cd[3] * along
    ltv1, ltv2 = (float(value) for value in window.ltv)
    return [
        *_title("World Coordinate System and Related Parameters"),
        ("WCSAXES", 2, "number of axes"),
        ("CRPIX1", nx / 2 + ltv1, "reference pixel along x"),
        ("CRPIX2", ny / 2 + ltv2, "reference pixel along y"),
        ("CRVAL1", round(ra, 10), "right ascension there (deg)"),
        ("CRVAL2", round(dec, 10), "declination there (deg)"),
        ("CTYPE1", "RA---TAN"),
        ("CTYPE2", "DEC--TAN"),
        *[(f"CD{i}_{j}", float(f"{cd[2 * i + j - 3]:.7e}")) for i in (1, 2) for j in (1, 2)],
        ("LTV1", ltv1, "offset in x to the start"),
        ("LTV2", ltv2, "offset in y to the start"),
        ("RAW_LTV1", ltv1, "LTV1 of the raw frame"),
        ("RAW_LTV2", ltv2, "LTV2 of the raw frame"),
        ("LTM1_1", 1.0, "reciprocal of the sampling rate in x"),
        ("LTM2_2", 1.0, "reciprocal of the sampling rate in y"),
        ("ORIENTAT", round(_ORIENTATION, 4), "position angle of the y axis (deg)"),
        ("RA_APER", TARGET[1], "right ascension of the aperture"),
        ("DEC_APER", TARGET[2], "declination of the aperture"),
        ("PA_APER", round(_ORIENTATION, 4), "position angle of the aperture"),
        ("VAFACTOR", 1.0000187, "velocity aberration factor"),
    ]


def _readout_cards(window: Window) -> list[Card]:
    whole = (window.ny, window.nx) == window.geometry.raw_shape
    return [
        *_title("READOUT DEFINITION PARAMETERS"),
        ("CENTERA1", window.x0 + window.nx // 2 + 1, "center along x"),
        ("CENTERA2", window.y0 + window.ny // 2 + 1, "center along y"),
        ("SIZAXIS1", window.nx, "size along x"),
        ("SIZAXIS2", window.ny, "size along y"),
        ("BINAXIS1", 1, "binning along x"),
        ("BINAXIS2", 1, "binning along y"),
        ("XCORNER", 0 if whole else window.x0 - PRESCAN + 1, "corner along x"),
        ("YCORNER", 0 if whole else window.y0 + 1, "corner along y"),
        *_title("PHOTOMETRY KEYWORDS"),
        ("PHOTMODE", _BLANK, "observation configuration"),
        ("PHOTFLAM", 0.0, "inverse sensitivity"),
        ("PHOTZPT", 0.0, "ST magnitude zero point"),
        ("PHOTPLAM", 0.0, "pivot wavelength (Angstrom)"),
        ("PHOTBW", 0.0, "RMS bandwidth (Angstrom)"),
        ("NCOMBINE", 1, "number of exposures combined"),
        ("FILLCNT", 0, "number of filled segments"),
        ("ERRCNT", 0, "number of segments with errors"),
        ("WFCMPRSD", False, "compressed on board"),
    ]
