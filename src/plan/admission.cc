#include "plan/admission.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/address_range.h"
#include "base/json_reader.h"
#include "base/text.h"

namespace consort::plan {
namespace {

constexpr std::array<std::string_view, 3> kModes = {"off", "audit", "enforce"};

Result<Admission> admission_from_json(const Json& json, const std::string& path) {
  JsonReader reader(json, path);
  Admission out;
  out.port = reader.integer("port", std::nullopt, 1, 65535);
  out.service = reader.string("service");
  out.endpoint = reader.string("endpoint");
  const std::string mode = reader.string("mode");
  const std::vector<std::string> sources = reader.strings("sources");
  TRYV(reader.finish(UnknownMembers::ignore));
  const std::string_view service = out.service;
  if (!is_name(service.starts_with("class:") ? service.substr(6) : service))
    return fail(ErrorCode::invalid_input, fmt::format("{}.service: no name of a service", path))
        .hint("letters, digits, '-', '_' and '.', at most 63; of a class: class:NAME");
  out.mode = TRY(access_mode_from_name(mode));
  std::vector<AddressRange> ranges;
  ranges.reserve(sources.size());
  for (const std::string& source : sources) ranges.push_back(TRY(AddressRange::parse(source)));
  for (const AddressRange& range : without_overlaps(std::move(ranges)))
    out.sources.push_back(range.str());
  return out;
}

}  // namespace

std::string_view access_mode_name(AccessMode mode) {
  return kModes.at(static_cast<std::size_t>(mode));
}

Result<AccessMode> access_mode_from_name(std::string_view name) {
  const auto it = std::find(kModes.begin(), kModes.end(), name);
  if (it == kModes.end())
    return fail(ErrorCode::invalid_input,
                fmt::format("'{}' is no mode of access (off, audit, enforce)", name));
  return static_cast<AccessMode>(it - kModes.begin());
}

Json admissions_to_json(const Admissions& admissions) {
  Json out = Json::array();
  for (const Admission& admission : admissions) {
    out.push_back(Json::object({{"port", admission.port},
                                {"service", admission.service},
                                {"endpoint", admission.endpoint},
                                {"mode", access_mode_name(admission.mode)},
                                {"sources", Json::array_of(admission.sources)}}));
  }
  return out;
}

Result<Admissions> admissions_from_json(const Json& json, const std::string& path) {
  if (!json.is_array())
    return fail(ErrorCode::invalid_input, fmt::format("{}: expected an array", path));
  if (json.as_array().size() > kMostAdmissions)
    return fail(ErrorCode::too_large, fmt::format("{}: {} ports; at most {}", path,
                                                  json.as_array().size(), kMostAdmissions));
  Admissions out;
  std::size_t sources = 0;
  for (const Json& item : json.as_array()) {
    Admission admission = TRY(admission_from_json(item, fmt::format("{}[{}]", path, out.size())));
    if (!out.empty() && admission.port <= out.back().port)
      return fail(ErrorCode::invalid_input, fmt::format("{}: ports must grow", path));
    sources += admission.sources.size();
    if (sources > kMostSources)
      return fail(ErrorCode::too_large,
                  fmt::format("{}: more than {} addresses", path, kMostSources));
    if (admission.mode != AccessMode::off) out.push_back(std::move(admission));
  }
  return out;
}

Digest admissions_digest(const Admissions& admissions) {
  return admissions.empty() ? Digest() : Digest::of(admissions_to_json(admissions).dump());
}

Json access_report_to_json(const AccessReport& report) {
  return Json::object(
      {{"able", report.able},
       {"problem", report.problem},
       {"admitted", report.admitted.is_none() ? Json() : Json(report.admitted.str())}});
}

Result<AccessReport> access_report_from_json(const Json& json, const std::string& path) {
  JsonReader reader(json, path);
  AccessReport out;
  out.able = reader.boolean("able", false);
  out.problem = reader.string("problem", "");
  const auto admitted = reader.optional_string("admitted");
  TRYV(reader.finish(UnknownMembers::ignore));
  if (admitted) out.admitted = TRY(Digest::parse(*admitted));
  return out;
}

}  // namespace consort::plan
