"""What is known of the keywords of an ACS RAW file: kinds, types, switches, references; tables only.

The types are those of real HRC RAW headers and of the WFC headers that calacs reads; a keyword that is not
listed may still be set, and its type is then that of the card in the file.
"""

from __future__ import annotations

from typing import Final, Literal

Kind = Literal["bool", "int", "float", "str"]
Hdu = Literal["PRIMARY", "SCI"]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


SWITCH_VALUES: Final = ("PERFORM", "OMIT")

SWITCHES: Final[dict[str, str]] = {
    "DQICORR": "initialise data quality from BPIXTAB and flag saturation",
    "ATODCORR": "correct the analogue to digital conversion (never needed so far)",
    "BIASCORR": "subtract the bias image",
    "BLEVCORR": "subtract the bias level measured in the overscan, and trim it",
    "PCTECORR": "correct charge transfer efficiency: makes an FLC or CRC beside the FLT or CRJ",
    "SINKCORR": "flag sink pixels from SNKCFILE",
    "FLSHCORR": "subtract the post-flash image",
    "DARKCORR": "subtract the dark image",
    "FLATCORR": "divide by the flat field",
    "SHADCORR": "correct shutter shading (never needed so far)",
    "PHOTCORR": "write the photometric keywords from IMPHTTAB",
    "CRCORR": "combine CR-SPLIT exposures; calacs takes this from the association",
    "RPTCORR": "combine repeated exposures",
    "EXPSCORR": "calibrate the single exposures of a combined product too",
    "DRIZCORR": "drizzle; calacs does not, but CRDS chooses D2IMFILE, NPOLFILE and MDRIZTAB by it",
    "GLINCORR": "SBC: correct global non-linearity",
    "LFLGCORR": "SBC: flag non-linear pixels",
    "TDDCORR": "time dependent distortion, read by updatewcs",
}

REFERENCES: Final[dict[str, str]] = {
    "ATODTAB": "analogue to digital conversion table",
    "BIASFILE": "bias image",
    "BPIXTAB": "bad pixel table",
    "CCDTAB": "CCD parameters: gains, read noise, saturation",
    "CFLTFILE": "coronagraphic spot flat",
    "CRREJTAB": "cosmic ray rejection parameters",
    "D2IMFILE": "detector to image distortion",
    "DARKFILE": "dark image",
    "DFLTFILE": "delta flat",
    "DGEOFILE": "distortion residuals (old form of NPOLFILE)",
    "DRKCFILE": "dark image with CTE correction",
    "FLSHFILE": "post-flash image",
    "IDCTAB": "distortion coefficients",
    "IMPHTTAB": "photometric calibration table",
    "LFLTFILE": "low order flat",
    "MDRIZTAB": "drizzle parameters",
    "MLINTAB": "SBC linearity table",
    "NPOLFILE": "distortion residuals",
    "OSCNTAB": "overscan regions",
    "PCTETAB": "CTE trap parameters",
    "PFLTFILE": "pixel to pixel flat",
    "SATUFILE": "full-well saturation image",
    "SHADFILE": "shutter shading image",
    "SNKCFILE": "sink pixel image",
    "SPOTTAB": "coronagraphic spot positions",
}

# In old headers, and read by nothing today.
OBSOLETE_REFERENCES: Final = frozenset({"COMPTAB", "GRAPHTAB", "PHOTTAB"})

# They say how the file is built: changed alone they make it unreadable or false. NAXISn, TFORMn and the like are
# found by STRUCTURAL_STEMS.
STRUCTURAL: Final = _names(
    """SIMPLE BITPIX NAXIS EXTEND XTENSION PCOUNT GCOUNT GROUPS BZERO BSCALE BLANK END CHECKSUM DATASUM ZDATASUM
    ZHECKSUM EXTNAME EXTVER EXTLEVEL NEXTEND INHERIT CONTINUE HIERARCH LONGSTRN COMMENT HISTORY TFIELDS THEAP
    ZIMAGE ZCMPTYPE ZTABLE NPIX1 NPIX2 PIXVALUE DATE"""
)
STRUCTURAL_STEMS: Final = ("NAXIS", "TFORM", "TTYPE", "TDIM", "TSCAL", "TZERO", "TNULL", "TUNIT", "PTYPE", "ZNAXIS")

# They say which file this is: other files and the log find it by them.
IDENTITY: Final = _names(
    """FILENAME FILETYPE ROOTNAME EXPNAME TELESCOP INSTRUME ASN_ID ASN_TAB ASN_MTYP OPUS_VER CSYS_VER CAL_VER
    CRDS_VER CRDS_CTX"""
)

# What the ACS rules of CRDS match besides the switches: contexts hst_0500 to hst_0729, and RAW_LTVn of the newer
# BIASFILE rules.
MATCHING: Final = _names(
    """DETECTOR CCDAMP CCDGAIN CCDCHIP FILTER1 FILTER2 DATE-OBS TIME-OBS APERTURE OBSTYPE FLASHCUR SHUTRPOS FW1OFFST
    FW2OFFST FWSOFFST LTV1 LTV2 RAW_LTV1 RAW_LTV2 XCORNER YCORNER"""
)

_PRIMARY: Final[dict[Kind, str]] = {
    "bool": "SUBARRAY FW1ERROR FW2ERROR FWSERROR STATFLAG WRTERR CRMASK",
    "int": """PROPOSID NRPTEXP FW1OFFST FW2OFFST FWSOFFST CRSPLIT BADINPDQ PATTSTEP P1_NPTS P2_NPTS
        CCDOFSTA CCDOFSTB CCDOFSTC CCDOFSTD""",
    "float": """EQUINOX RA_TARG DEC_TARG SUNANGLE MOONANGL SUN_ALT EXPSTART EXPEND EXPTIME DARKTIME PA_V3 POSTARG1
        POSTARG2 PROCTIME LRFWAVE MEANEXP SCALENSE SKYSUM CRRADIUS CRTHRESH REJ_RATE MDRIZSKY FLASHDUR CCDGAIN
        ATODGNA ATODGNB ATODGNC ATODGND READNSEA READNSEB READNSEC READNSED BIASLEVA BIASLEVB BIASLEVC BIASLEVD
        P1_PSPAC P1_LSPAC P1_ANGLE P1_ORINT P2_PSPAC P2_LSPAC P2_ANGLE P2_ORINT""",
    "str": """DATE FILENAME FILETYPE TELESCOP INSTRUME ROOTNAME IMAGETYP PRIMESI TARGNAME LINENUM FGSLOCK GYROMODE
        REFFRAME MTFLAG DATE-OBS TIME-OBS EXPFLAG QUALCOM1 QUALCOM2 QUALCOM3 QUALITY OPUS_VER CSYS_VER CAL_VER
        CRDS_VER CRDS_CTX OBSTYPE OBSMODE CTEIMAGE SCLAMP DETECTOR FILTER1 FILTER2 APERTURE PROPAPER DIRIMAGE CTEDIR
        JWROTYPE INITGUES SKYSUB CRSIGMAS PATTERN1 P1_SHAPE P1_PURPS P1_FRAME P1_CENTR PATTERN2 P2_SHAPE P2_PURPS
        P2_FRAME P2_CENTR FLASHCUR FLASHSTA SHUTRPOS CCDAMP ASN_ID ASN_TAB ASN_MTYP PR_INV_L PR_INV_F PR_INV_M
        ACQNAME T_SGSTAR IRAF-TLM""",
}

_SCI: Final[dict[Kind, str]] = {
    "bool": "INHERIT PODPSFF STDCFFF WFCMPRSD",
    "int": """CCDCHIP WCSAXES CENTERA1 CENTERA2 SIZAXIS1 SIZAXIS2 BINAXIS1 BINAXIS2 XCORNER YCORNER NCOMBINE FILLCNT
        ERRCNT NGOODPIX SDQFLAGS SOFTERRS CBLKSIZ LOSTPIX""",
    "float": """DATAMIN DATAMAX CRPIX1 CRPIX2 CRVAL1 CRVAL2 CD1_1 CD1_2 CD2_1 CD2_2 LTV1 LTV2 RAW_LTV1 RAW_LTV2 LTM1_1
        LTM2_2 ORIENTAT RA_APER DEC_APER PA_APER VAFACTOR PHOTFLAM PHOTZPT PHOTPLAM PHOTBW GOODMIN GOODMAX GOODMEAN
        SNRMIN SNRMAX SNRMEAN MEANDARK MEANBLEV MEANFLSH""",
    "str": "ROOTNAME EXPNAME BUNIT CTYPE1 CTYPE2 PHOTMODE STDCFFP COMPTYP",
}


def _table(kinds: dict[Kind, str]) -> dict[str, Kind]:
    return {name: kind for kind, names in kinds.items() for name in names.split()}


KEYWORDS: Final[dict[Hdu, dict[str, Kind]]] = {"PRIMARY": _table(_PRIMARY), "SCI": _table(_SCI)}
"""Keyword to type, for each kind of HDU that a recipe may edit."""

# calacs copies these into fixed buffers (one byte past the end in places), so longer values are not safe.
LONGEST: Final[dict[str, int]] = {
    "CCDAMP": 4,
    **dict.fromkeys(
        _names("IMAGETYP APERTURE OBSTYPE JWROTYPE DETECTOR FILTER1 FILTER2 FLASHSTA FLASHCUR DATE-OBS TIME-OBS"), 23
    ),
}

# A card is 80 characters: keyword, '= ', two quotes.
LONGEST_STRING: Final = 68

PRODUCTS: Final[dict[str, str]] = {
    "RAW": "uncalibrated exposure",
    "ASN": "association table",
    "SPT": "support and telemetry",
    "FLT": "calibrated exposure",
    "FLC": "calibrated exposure with CTE correction",
    "CRJ": "cosmic ray combined",
    "CRC": "cosmic ray combined, with CTE correction",
    "DRZ": "drizzled",
    "DRC": "drizzled, with CTE correction",
    "JIT": "jitter table",
    "JIF": "jitter image",
    "TRL": "trailer",
}

MEMBER_KEYS: Final = ("MEMTYPE", "MEMNAME")
