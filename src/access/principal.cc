#include "access/principal.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/json_reader.h"
#include "base/text.h"

namespace consort::access {
namespace {

constexpr std::array<std::string_view, 3> kRoles = {"viewer", "deployer", "admin"};

std::string grant_text(const Grant& grant) {
  std::string out(role_name(grant.role));
  std::vector<std::string> what = grant.services;
  for (const std::string& owner : grant.owners) what.push_back("owner " + owner);
  constexpr std::size_t shown = 8;
  const std::size_t more = what.size() > shown ? what.size() - shown : 0;
  what.resize(what.size() - more);
  if (!what.empty()) out += " of " + join(what, ", ");
  if (more > 0) out += fmt::format(" and {} more", more);
  return out;
}

Status check_patterns(const std::vector<std::string>& patterns, std::string_view what) {
  if (patterns.size() > kMaxPatterns)
    return fail(ErrorCode::too_large, fmt::format("a grant names {} {}; the limit is {}",
                                                  patterns.size(), what, kMaxPatterns));
  for (const std::string& pattern : patterns) {
    if (!is_pattern(pattern))
      return fail(ErrorCode::invalid_input,
                  fmt::format("{}: '{}' is empty, too long, has control characters or too many '*'",
                              what, is_utf8(pattern) ? pattern.substr(0, 40) : "…"));
  }
  return {};
}

}  // namespace

bool is_pattern(std::string_view text) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  return !text.empty() && text.size() <= kMaxPatternBytes &&
         std::count(text.begin(), text.end(), '*') <= std::ptrdiff_t{kMaxStars} &&
         std::none_of(text.begin(), text.end(), is_control) && is_utf8(text);
}

std::string principal_text(const Principal& principal) {
  std::string out;
  switch (principal.kind) {
    case Principal::Kind::anonymous:
      return "nobody";
    case Principal::Kind::local:
      return "local";
    case Principal::Kind::joining:
      out = "a joining host";
      break;
    case Principal::Kind::host:
      out = "host " + principal.name;
      break;
    case Principal::Kind::operator_:
      out = "operator " + principal.name;
      break;
  }
  if (!principal.how.empty()) out += fmt::format(" ({})", principal.how);
  return out;
}

std::string_view role_name(Role role) {
  const auto index = static_cast<std::size_t>(role);
  return index < kRoles.size() ? kRoles[index] : "?";
}

Result<Role> role_from_name(std::string_view name) {
  const auto it = std::find(kRoles.begin(), kRoles.end(), name);
  if (it == kRoles.end())
    return fail(ErrorCode::invalid_input, fmt::format("'{}' is no role", name.substr(0, 40)))
        .hint("viewer, deployer or admin");
  return static_cast<Role>(it - kRoles.begin());
}

std::string grants_text(const std::vector<Grant>& grants) {
  std::string out;
  for (std::size_t i = 0; i < grants.size(); ++i)
    out += (i == 0 ? "" : i + 1 == grants.size() ? " and " : ", ") + grant_text(grants[i]);
  return out.empty() ? "nothing" : out;
}

Status check_grants(const std::vector<Grant>& grants) {
  if (grants.size() > kMaxGrants)
    return fail(ErrorCode::too_large, fmt::format("{} grants for one operator; the limit is {}",
                                                  grants.size(), kMaxGrants));
  for (const Grant& grant : grants) {
    TRYV(check_patterns(grant.services, "services"));
    TRYV(check_patterns(grant.owners, "owners"));
    const bool narrowed = !grant.services.empty() || !grant.owners.empty();
    if (grant.role == Role::deployer && !narrowed)
      return fail(ErrorCode::invalid_input, "a deployer of nothing")
          .hint("name services, --service 'shop-*' ('*' for all), or owners, --owner team-a");
    if (grant.role != Role::deployer && narrowed)
      return fail(ErrorCode::invalid_input,
                  fmt::format("the role {} is for the whole site: it takes no services or owners",
                              role_name(grant.role)))
          .hint("only deployers are for some services");
  }
  return {};
}

Json grants_to_json(const std::vector<Grant>& grants) {
  Json::Array out;
  for (const Grant& grant : grants)
    out.push_back(Json::object({{"role", role_name(grant.role)},
                                {"services", Json::array_of(grant.services)},
                                {"owners", Json::array_of(grant.owners)}}));
  return out;
}

Result<std::vector<Grant>> grants_from_json(const Json::Array& json, const std::string& path) {
  if (json.size() > kMaxGrants)
    return fail(ErrorCode::too_large,
                fmt::format("{}: {} grants; the limit is {}", path, json.size(), kMaxGrants));
  std::vector<Grant> out;
  for (const Json& item : json) {
    JsonReader reader(item, fmt::format("{}[{}]", path, out.size()));
    Grant grant;
    const std::string role = reader.string("role");
    grant.services = reader.strings("services");
    grant.owners = reader.strings("owners");
    TRYV(reader.finish());
    grant.role = TRY(role_from_name(role));
    out.push_back(std::move(grant));
  }
  TRYV(check_grants(out));
  return out;
}

}  // namespace consort::access
