#include "site/placeholder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"

namespace consort::site {
namespace {

constexpr std::array<std::string_view, 1> kClassNamespaces = {"needs"};
constexpr std::array<std::string_view, 6> kHostNamespaces = {"host",     "fact",   "service",
                                                             "artifact", "secret", "port"};

bool is_known(std::string_view ns, PlaceholderStage stage) {
  if (stage == PlaceholderStage::compile)
    return std::find(kClassNamespaces.begin(), kClassNamespaces.end(), ns) !=
           kClassNamespaces.end();
  return std::find(kHostNamespaces.begin(), kHostNamespaces.end(), ns) != kHostNamespaces.end();
}

struct Placeholder {
  Encoder encoder = Encoder::plain;
  std::string_view name;
};

Placeholder parse(std::string_view body) {
  if (body.starts_with("json:")) return {Encoder::json, body.substr(5)};
  if (body.starts_with("shell:")) return {Encoder::shell, body.substr(6)};
  return {Encoder::plain, body};
}

Status visit(const Json& json, std::string_view path,
             const std::function<Status(const std::string&, std::string_view)>& on_string) {
  if (json.is_string()) return on_string(json.as_string(), path);
  if (json.is_array()) {
    std::size_t i = 0;
    for (const Json& item : json.as_array())
      TRYV(visit(item, fmt::format("{}[{}]", path, i++), on_string));
  } else if (json.is_object()) {
    for (const auto& [key, item] : json.as_object())
      TRYV(visit(item, path.empty() ? key : fmt::format("{}.{}", path, key), on_string));
  }
  return {};
}

}  // namespace

namespace {

// `take` gets the literal texts, `fill` the placeholders of the stage.
Status walk(std::string_view text, PlaceholderStage stage,
            const std::function<void(std::string_view)>& take,
            const std::function<Status(const Placeholder&)>& fill) {
  while (true) {
    const std::size_t start = text.find("${");
    if (start == std::string_view::npos) {
      take(text);
      return {};
    }
    if (start > 0 && text[start - 1] == '$') {
      // The compiler leaves the escape for the agent, who expands last.
      take(text.substr(0, stage == PlaceholderStage::host ? start - 1 : start));
      take("${");
      text.remove_prefix(start + 2);
      continue;
    }
    const std::size_t end = text.find('}', start);
    if (end == std::string_view::npos) {
      take(text);
      return {};
    }
    take(text.substr(0, start));
    const std::string_view whole = text.substr(start, end + 1 - start);
    const Placeholder placeholder = parse(text.substr(start + 2, end - start - 2));
    text.remove_prefix(end + 1);
    const std::string_view ns = placeholder.name.substr(0, placeholder.name.find('.'));
    if (placeholder.name.find('.') == std::string_view::npos || !is_known(ns, stage)) {
      take(whole);
    } else {
      TRYV(fill(placeholder));
    }
  }
}

}  // namespace

std::string encode(Encoder encoder, std::string value) {
  if (encoder == Encoder::json) return Json(std::move(value)).dump();
  if (encoder == Encoder::shell) {
    std::string out = "'";
    for (const char c : value) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + "'";
  }
  return value;
}

Result<std::string> expand(std::string_view text, PlaceholderStage stage,
                           const PlaceholderLookup& lookup) {
  std::string out;
  TRYV(walk(
      text, stage, [&](std::string_view literal) { out.append(literal); },
      [&](const Placeholder& placeholder) -> Status {
        out.append(encode(placeholder.encoder, TRY(lookup(placeholder.name))));
        return {};
      }));
  return out;
}

Result<std::vector<Piece>> expand_but_secrets(std::string_view text,
                                              const PlaceholderLookup& lookup) {
  constexpr std::string_view kSecret = "secret.";
  std::vector<Piece> out;
  const auto add = [&](std::string_view literal) {
    if (literal.empty()) return;
    if (out.empty() || !out.back().secret.empty()) out.emplace_back();
    out.back().text.append(literal);
  };
  TRYV(walk(text, PlaceholderStage::host, add, [&](const Placeholder& placeholder) -> Status {
    if (placeholder.name.starts_with(kSecret)) {
      out.push_back(
          {"", std::string(placeholder.name.substr(kSecret.size())), placeholder.encoder});
    } else {
      add(encode(placeholder.encoder, TRY(lookup(placeholder.name))));
    }
    return {};
  }));
  return out;
}

Result<Json> expand_all(const Json& json, PlaceholderStage stage, const PlaceholderLookup& lookup,
                        std::string_view path) {
  if (json.is_string()) {
    auto text = expand(json.as_string(), stage, lookup);
    if (!text) return fail(std::move(text).error().context(fmt::format("in {}", path)));
    return Json(std::move(*text));
  }
  if (json.is_array()) {
    Json::Array out;
    for (const Json& item : json.as_array())
      out.push_back(TRY(expand_all(item, stage, lookup, fmt::format("{}[{}]", path, out.size()))));
    return Json(std::move(out));
  }
  if (json.is_object()) {
    Json::Object out;
    for (const auto& [key, item] : json.as_object()) {
      out.emplace(key, TRY(expand_all(item, stage, lookup,
                                      path.empty() ? key : fmt::format("{}.{}", path, key))));
    }
    return Json(std::move(out));
  }
  return json;
}

Result<std::set<std::string>> placeholders_in(const Json& json, PlaceholderStage stage) {
  std::set<std::string> out;
  TRYV(visit(json, "", [&](const std::string& text, std::string_view) -> Status {
    TRY(expand(text, stage, [&](std::string_view name) -> Result<std::string> {
      out.emplace(name);
      return std::string();
    }));
    return {};
  }));
  return out;
}

}  // namespace consort::site
