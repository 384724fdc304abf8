def sources(p: object) -> dict[str, str]:
    return {}
