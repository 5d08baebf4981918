#include "site/document.h"

#include <fmt/format.h>

#include "site/evaluator.h"
#include "site/schema.h"

namespace consort::site {

Result<Json> evaluate_document(const fs::path& file, const EvaluationLimits& limits) {
  std::error_code ec;
  const fs::path path = fs::absolute(file, ec).lexically_normal();
  if (!fs::exists(path, ec))
    return fail(ErrorCode::not_found, fmt::format("there is no file {}", file.string()));
  const Json document =
      TRY(TRY(run_evaluator(fmt::format("import {}", Json(path.string()).dump()), nullptr, limits))
              .value);
  static const Schema schema{
      "document",
      "Resources of one machine.",
      {{"resources", Kind::tagged_map, "What must be true.", true, nullptr, &resource_schemas()}}};
  TRYV(check(document, schema, ""));
  return document;
}

}  // namespace consort::site
