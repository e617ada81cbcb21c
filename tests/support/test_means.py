import pytest

from tests.support.means import VARIABLE, skip_without


def test_what_is_missing_skips_and_what_was_promised_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "root chromium")
    with pytest.raises(pytest.skip.Exception, match="no ip"):
        skip_without("namespaces", "there is no ip")
    with pytest.raises(pytest.fail.Exception, match="promises chromium, but none is installed"):
        skip_without("chromium", "none is installed")
