"""The figures' theme against seaborn, which it is taken from."""

import subprocess
import sys

import matplotlib
import pytest
import seaborn as sns

from feature_alignment.plots.theme import PALETTE, THEME

ELSEWHERE = {
    "backend",  # set by whoever draws
    "image.cmap",  # a colour map that seaborn registers; every figure names its own
}


def settings():
    return {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key not in ELSEWHERE}


@pytest.fixture
def restored_settings():
    with matplotlib.rc_context():
        yield


@pytest.mark.usefixtures("restored_settings")
def test_the_theme_is_seaborns():
    matplotlib.rcdefaults()
    plain = settings()
    sns.set_theme(context="paper", style="ticks", palette="colorblind", font_scale=0.85)
    theirs = settings()
    matplotlib.rcdefaults()
    matplotlib.rcParams.update(THEME)
    matplotlib.rcParams["axes.prop_cycle"] = matplotlib.cycler(color=PALETTE)
    ours = settings()
    cycles = [mine.pop("axes.prop_cycle").by_key()["color"] for mine in (theirs, ours)]
    assert [tuple(map(matplotlib.colors.to_hex, colours)) for colours in cycles] == [PALETTE] * 2
    assert ours == theirs
    assert {key for key, value in THEME.items() if plain[key] == value} == set()


def test_the_palette_is_seaborns():
    assert tuple(sns.color_palette("colorblind").as_hex()) == PALETTE


def test_drawing_does_not_import_seaborn():
    code = "import sys, feature_alignment.plots.draw as d; d.find_figure('joint/both_instruments')"
    code += "; sys.exit('seaborn' in sys.modules or 'scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
