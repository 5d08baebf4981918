// Sites that are plain JSON: JSON is Jsonnet, but needs no interpreter. Internal to this room.
#pragma once

#include <optional>
#include <string>

#include "site/site.h"

namespace consort::site {

struct PlainSite {
  Json value;
  std::string digest;  // of the file's text
};

// The file as Jsonnet would evaluate it, or nullopt where that cannot be told without Jsonnet: no
// JSON, a name given twice, a number that is no exact double, an unreadable file. Jsonnet then has
// its say, errors included.
[[nodiscard]] std::optional<PlainSite> read_plain_site(const fs::path& file,
                                                       const EvaluationLimits& limits);

}  // namespace consort::site
