// libjsonnet's error texts, turned into errors with a place:
//   STATIC ERROR: site.jsonnet:3:9: Expected …
//   RUNTIME ERROR: Field does not exist: foo
//   <TAB>site.jsonnet:3:5-10<TAB>object <anonymous>
//   <TAB>site.jsonnet:(3:5)-(9:2)<TAB>…
#include <fmt/format.h>

#include <cstdio>

#include "base/text.h"
#include "site/evaluator.h"

namespace consort::site {
namespace {

struct Place {
  std::string file;
  int line = 0;
  int column = 0;
  int end_column = 0;
};

std::optional<Place> parse_place(std::string_view text) {
  Place place;
  const std::size_t tab = text.find('\t');
  const std::string where(text.substr(0, tab));
  // The file name may hold colons: the numbers are matched from the right side of the first
  // ":<digit>" or ":(".
  for (std::size_t i = 0; i + 1 < where.size(); ++i) {
    if (where[i] != ':') continue;
    const char* rest = where.c_str() + i;
    int end_line = 0;
    const bool found =
        std::sscanf(rest, ":(%d:%d)-(%d:%d)", &place.line, &place.column, &end_line,
                    &place.end_column) >= 2 ||
        std::sscanf(rest, ":%d:%d-%d", &place.line, &place.column, &place.end_column) >= 2;
    if (!found) continue;
    if (end_line != 0 && end_line != place.line) place.end_column = 0;
    place.file = where.substr(0, i);
    return place;
  }
  return std::nullopt;
}

SourceSpan span_of(const Place& place) {
  SourceSpan span;
  span.file = place.file;
  span.line = place.line;
  span.column = place.column;
  if (place.end_column > place.column) span.length = place.end_column - place.column + 1;
  if (const auto text = read_file(place.file)) {
    const auto lines = split(*text, '\n');
    if (place.line > 0 && static_cast<std::size_t>(place.line) <= lines.size()) {
      const std::string& line = lines[static_cast<std::size_t>(place.line) - 1];
      if (line.size() <= 200) span.excerpt = line;
    }
  }
  return span;
}

bool is_ours(const std::string& file) {
  return file == "<site>" || file == "consort.libsonnet" || file == "std" ||
         file == "std.jsonnet" || file.empty();
}

std::string hint_for(std::string_view message) {
  if (message.find("ield does not exist") != std::string_view::npos)
    return "check the spelling; a service can only use endpoints that it declares in needs or uses";
  if (message.find("max stack frames exceeded") != std::string_view::npos)
    return "something refers to itself without end";
  if (message.find("is not UTF-8") != std::string_view::npos)
    return "save it as UTF-8; binary content belongs into an artifact";
  if (message.find("the sources of a site may have") != std::string_view::npos)
    return "large content belongs into an artifact, beside the site";
  if (message.find("Unknown variable: c") != std::string_view::npos)
    return "begin the file with: local c = import 'consort.libsonnet';";
  constexpr std::string_view kCannotOpen = "cannot open ";
  if (const std::size_t end = message.rfind(": No such file");
      message.find(kCannotOpen) != std::string_view::npos && end != std::string_view::npos) {
    const std::string_view path = message.substr(0, end);
    const std::string name(path.substr(path.rfind('/') + 1));
    const std::string guess = did_you_mean(name, std::vector<std::string>{"consort.libsonnet"});
    return guess.empty() ? "paths are meant from the folder of the file that imports"
                         : "did you mean 'consort.libsonnet'? It comes with Consort";
  }
  return "";
}

}  // namespace

Error parse_jsonnet_error(std::string_view text) {
  const std::size_t first_end = text.find('\n');
  std::string message(text.substr(0, first_end));
  std::optional<Place> place;
  for (const std::string_view prefix : {"STATIC ERROR: ", "RUNTIME ERROR: "}) {
    if (!message.starts_with(prefix)) continue;
    message = message.substr(prefix.size());
    if (prefix.starts_with("STATIC")) {
      place = parse_place(message);
      // "file:3:9: Expected …" keeps only what comes after the place.
      const std::size_t colon = message.find(": ");
      if (place && colon != std::string::npos) message = message.substr(colon + 2);
    }
  }
  if (!place && first_end != std::string_view::npos) {
    for (const std::string& line : split(text.substr(first_end + 1), '\n')) {
      auto candidate = parse_place(trim(line));
      if (candidate && !is_ours(candidate->file)) {
        place = std::move(candidate);
        break;
      }
    }
  }
  // What follows names the file.
  constexpr std::string_view kImport = "couldn't open import \"";
  if (const std::size_t end = message.find("\": ");
      message.starts_with(kImport) && end != std::string::npos)
    message.erase(0, end + 3);
  Error error(ErrorCode::invalid_input, message);
  if (place) error = std::move(error).at(span_of(*place));
  return std::move(error).hint(hint_for(message));
}

}  // namespace consort::site
