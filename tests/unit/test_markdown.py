import re

import pytest

from feature_alignment.publish.markdown import code, words

ENEMY = [
    "a | b `c` **d** __e__ _f_ ~~g~~ [h](javascript:alert(1)) ![i](x) <b>j</b> &lt; $k$ \\| \\",
    "<script>alert(1)</script> <!-- end: verdicts --> <!-- generated: run -->",
    "one\n\n| two |\n|---|\r\n# three\x0b- four\0",
    "n_train and λ_max stay, _x and y_ and a__b do not.",
    "[[wiki]] <http://example.org> <a@b.org>",
]


@pytest.mark.parametrize("text", ENEMY)
def test_words_have_no_markup_and_come_back(text):
    found = words(text)
    assert not re.search(r"[\s\0]{2}|[^ \S]|\0", found)
    bare = re.sub(r"\\[\\`|<>*\[\]~&$_]", "", found)  # without what is escaped
    assert not re.search(r"[\\`|<>*\[\]~&$]|(?<![^\W_])_|_(?![^\W_])", bare.replace("a_b", ""))
    assert re.sub(r"\\([\\`|<>*\[\]~&$_])", r"\1", found) == re.sub(r"[\s\0]+", " ", text).strip()


def test_plain_words_stay_as_they_are():
    text = "With the κ that keeps λ_max constant, K_y rises by 3 % (p = .05); so n_train matters."
    assert words(text) == text


def test_a_name_is_code_unless_it_would_end_it():
    assert code("plot_lou2022_e1/vgg 3:x") == "`plot_lou2022_e1/vgg 3:x`"
    assert code("a`|<b>") == r"a\`\|\<b\>"
