// One Jsonnet or JSON document that is no site: what `consort apply` reads.
#pragma once

#include "site/site.h"

namespace consort::site {

// The evaluated document, under the same limits as a site; its `resources` are checked against the
// schema.
[[nodiscard]] Result<Json> evaluate_document(const fs::path& file,
                                             const EvaluationLimits& limits = {});

}  // namespace consort::site
