#include "cli/seen.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/files.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/credentials.h"
#include "cli/keys.h"

namespace consort::cli {
namespace {

constexpr std::size_t kSeenBytes = 4U << 20U;

Result<fs::path> seen_file(const signing::TrustList& list) {
  return TRY(config_folder()) / "seen" /
         (file_name_of(list.site) + "@" + file_name_of(list.partition));
}

Result<fs::path> secrets_file(const signing::TrustList& list) {
  fs::path file = TRY(seen_file(list));
  return file += ".secrets";
}

Result<std::map<std::string, std::uint64_t>> seen_secrets(const signing::TrustList& list) {
  const fs::path file = TRY(secrets_file(list));
  std::map<std::string, std::uint64_t> out;
  const auto text = read_file(file, kSeenBytes);
  if (!text && text.error().code() == ErrorCode::not_found) return out;
  if (!text) return fail(text.error());
  const Json json = TRY(parse_json(*text, file.string()));
  if (!json.is_object())
    return fail(ErrorCode::corrupt, fmt::format("{} holds no versions", file.string()));
  for (const auto& [name, version] : json.as_object()) {
    if (version.is_int() && version.as_int() > 0)
      out.emplace(name, static_cast<std::uint64_t>(version.as_int()));
  }
  return out;
}

}  // namespace

Result<std::uint64_t> last_seen_statement(const signing::TrustList& list) {
  const fs::path file = TRY(seen_file(list));
  const auto text = read_file(file, 64);
  if (!text && text.error().code() == ErrorCode::not_found) return 0;
  if (!text) return fail(text.error());
  const std::string number(trim(*text));
  if (number.empty() || number.size() > 16 ||
      number.find_first_not_of("0123456789") != std::string::npos)
    return fail(ErrorCode::corrupt, fmt::format("{} holds no number", file.string()));
  return std::stoull(number);
}

Status remember_statement(const signing::TrustList& list, std::uint64_t sequence) {
  if (sequence <= TRY(last_seen_statement(list))) return {};
  const fs::path file = TRY(seen_file(list));
  TRYV(make_folders(file.parent_path(), 0700));
  return write_file_atomic(file, std::to_string(sequence) + "\n", 0600);
}

Result<std::uint64_t> last_seen_secret(const signing::TrustList& list, const std::string& name) {
  const auto seen = TRY(seen_secrets(list));
  const auto it = seen.find(name);
  return it == seen.end() ? 0 : it->second;
}

Status check_secret_versions(const signing::TrustList& list,
                             const std::map<std::string, std::uint64_t>& versions) {
  const auto seen = TRY(seen_secrets(list));
  for (const auto& [name, version] : versions) {
    const auto it = seen.find(name);
    if (it == seen.end() || version >= it->second) continue;
    return fail(ErrorCode::forbidden,
                fmt::format("the controller says that version {} of the secret '{}' is the newest; "
                            "you have signed for version {}",
                            version, name, it->second))
        .hint(fmt::format("if its store was restored from an older backup, set the value again, "
                          "which makes a newer version: consort secret set {}",
                          name));
  }
  return {};
}

Status remember_secret_versions(const signing::TrustList& list,
                                const std::map<std::string, std::uint64_t>& versions) {
  auto seen = TRY(seen_secrets(list));
  const auto before = seen;
  for (const auto& [name, version] : versions) seen[name] = std::max(seen[name], version);
  if (seen == before) return {};
  Json::Object out;
  for (const auto& [name, version] : seen) out.emplace(name, version);
  const fs::path file = TRY(secrets_file(list));
  TRYV(make_folders(file.parent_path(), 0700));
  return write_file_atomic(file, Json(std::move(out)).dump() + "\n", 0600);
}

}  // namespace consort::cli
