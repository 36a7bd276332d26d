from spawnai_local.cloud_settings import NO_CLOUD, CloudReport, CloudSettings


def test_settings_survive_the_way_to_another_process():
    settings = CloudSettings(
        machines=False,
        boot_seconds=(0.5, 1.5),
        delays={"firewall": 0.25, "listing": [0.0, 2.0]},
        tokens_per_second=50.0,
    )
    assert CloudSettings.from_json(settings.to_json()) == settings
    assert CloudSettings.from_json(CloudSettings().to_json()) == CloudSettings()


def test_a_report_survives_the_way_back():
    report = CloudReport(
        digitalocean_url="http://127.128.0.1:8080",
        claude_url=None,
        dns_address="127.128.0.1",
        dns_port=53,
        http_port=80,
        network="127.128.0.0/16",
    )
    assert CloudReport.from_json(report.to_json()) == report
    assert CloudReport.from_json(NO_CLOUD.to_json()) == NO_CLOUD
