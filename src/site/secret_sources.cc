// Where values of secrets come from.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "site/model.h"

namespace consort::site {
namespace {

// As crypto/seal.h writes it; this room only tells it from other files.
constexpr std::string_view kSealedBegin = "sealed.v1.";
constexpr std::size_t kSealedBytes = 4U << 20U;

Result<SecretSource> source_of(const Json& json, const std::string& path) {
  SecretSource out;
  out.purpose = json.string_or("purpose");
  const Json* exec = json.find("exec");
  if (exec == nullptr || exec->is_null()) {
    out.file = json.string_or("file");
    if (out.file.empty())
      return fail(ErrorCode::invalid_input, fmt::format("{}: give one of exec, file", path));
    for (const std::string_view name : {"timeout", "exact"}) {
      const Json* value = json.find(name);
      if (value != nullptr && !value->is_null())
        return fail(ErrorCode::invalid_input,
                    fmt::format("{}.{}: that is of a program, and this is a file", path, name))
            .hint(fmt::format("take {} out", name));
    }
    return out;
  }
  for (const Json& word : exec->as_array()) out.exec.push_back(word.as_string());
  if (out.exec.empty() || out.exec.front().empty())
    return fail(ErrorCode::invalid_input, path + ".exec: there is no program")
        .hint("exec: ['pass', 'show', 'shop/db']");
  if (const std::string text = json.string_or("timeout"); !text.empty())
    out.timeout = TRY(parse_duration(text));
  out.exact = json.bool_or("exact");
  return out;
}

// Whether `path` leads out of `folder`, links followed.
bool leads_outside(const fs::path& folder, const fs::path& path) {
  std::error_code ec;
  const fs::path root = fs::weakly_canonical(folder, ec);
  if (ec) return true;
  const fs::path way = fs::weakly_canonical(path, ec).lexically_relative(root);
  return ec || way.empty() || *way.begin() == "..";
}

Status check_file(const fs::path& folder, const std::string& name, const std::string& file) {
  const std::string path = fmt::format("secrets.{}.file", name);
  const fs::path there = folder / file;
  if (fs::path(file).is_absolute() || leads_outside(folder, there))
    return fail(ErrorCode::invalid_input,
                fmt::format("{}: {} is outside of the site's folder", path, file))
        .hint(fmt::format("keep it with the site: file: 'secrets/{}.sealed'", name));
  std::error_code ec;
  if (!fs::is_regular_file(there, ec))
    return fail(ErrorCode::invalid_input, fmt::format("{}: there is no file {}", path, file))
        .hint(
            fmt::format("make it with: consort secret encrypt {} --out {}", name, there.string()));
  auto text = read_file(there, kSealedBytes);
  if (!text) return fail(std::move(text).error().context("in " + path));
  const std::string_view sealed = trim(*text);
  const bool good = sealed.size() > kSealedBegin.size() && sealed.starts_with(kSealedBegin) &&
                    std::all_of(sealed.begin(), sealed.end(), [](char c) {
                      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                             (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
                    });
  if (good) return {};
  return fail(ErrorCode::invalid_input, fmt::format("{}: {} is no sealed text", path, file))
      .hint(fmt::format("a value in the clear does not belong into a site; encrypt it: consort "
                        "secret encrypt {0} --file FILE --out {0}.sealed",
                        name));
}

}  // namespace

Status take_secrets(Site& site, const Json* secrets) {
  if (secrets == nullptr || !secrets->is_object()) return {};
  for (const auto& [name, source] : secrets->as_object()) {
    SecretSource taken = TRY(source_of(source, "secrets." + name));
    site.secrets.emplace(name, std::move(taken));
  }
  return {};
}

std::vector<Error> secret_file_mistakes(const Site& site) {
  std::vector<Error> out;
  for (const auto& [name, source] : site.secrets) {
    if (source.file.empty()) continue;
    if (auto status = check_file(site.file.parent_path(), name, source.file); !status)
      out.push_back(std::move(status).error());
  }
  return out;
}

}  // namespace consort::site
