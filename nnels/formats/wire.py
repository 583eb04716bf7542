"""The four formats of an answer and their media types (contract 2.2)."""

SIMPLE, JSON_API, HAL, SINGLE = "simple", "json_api", "hal", "single"
MEDIA_TYPES = {
    SIMPLE: "application/json",
    JSON_API: "application/vnd.api+json",
    HAL: "application/hal+json",
    SINGLE: "application/drupal.single+json",
}
