#include "http/message.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"

namespace consort::http {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string one_line(std::string_view text) {
  std::string out(text);
  std::erase_if(out, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
  return out;
}

ErrorCode code_of_status(int status) {
  switch (status) {
    case 404:
      return ErrorCode::not_found;
    case 405:
      return ErrorCode::method_not_allowed;
    case 409:
      return ErrorCode::conflict;
    case 413:
      return ErrorCode::too_large;
    case 423:
      return ErrorCode::locked;
    case 408:
    case 504:
      return ErrorCode::timeout;
    case 429:
    case 502:
    case 503:
      return ErrorCode::unavailable;
    case 501:
      return ErrorCode::unsupported;
    default:
      break;
  }
  if (status >= 300 && status < 400) return ErrorCode::unsupported;
  return status >= 500   ? ErrorCode::io
         : status == 401 ? ErrorCode::unauthenticated
         : status == 403 ? ErrorCode::refused
                         : ErrorCode::invalid_input;
}

struct Phrase {
  int status;
  std::string_view text;
};
constexpr std::array kPhrases = {
    Phrase{100, "Continue"},
    Phrase{101, "Switching Protocols"},
    Phrase{200, "OK"},
    Phrase{201, "Created"},
    Phrase{202, "Accepted"},
    Phrase{204, "No Content"},
    Phrase{206, "Partial Content"},
    Phrase{301, "Moved Permanently"},
    Phrase{302, "Found"},
    Phrase{303, "See Other"},
    Phrase{304, "Not Modified"},
    Phrase{307, "Temporary Redirect"},
    Phrase{400, "Bad Request"},
    Phrase{401, "Unauthorized"},
    Phrase{403, "Forbidden"},
    Phrase{404, "Not Found"},
    Phrase{405, "Method Not Allowed"},
    Phrase{408, "Request Timeout"},
    Phrase{409, "Conflict"},
    Phrase{412, "Precondition Failed"},
    Phrase{413, "Content Too Large"},
    Phrase{415, "Unsupported Media Type"},
    Phrase{416, "Range Not Satisfiable"},
    Phrase{422, "Unprocessable Content"},
    Phrase{423, "Locked"},
    Phrase{429, "Too Many Requests"},
    Phrase{431, "Request Header Fields Too Large"},
    Phrase{499, "Client Closed Request"},
    Phrase{500, "Internal Server Error"},
    Phrase{501, "Not Implemented"},
    Phrase{502, "Bad Gateway"},
    Phrase{503, "Service Unavailable"},
    Phrase{504, "Gateway Timeout"},
    Phrase{505, "HTTP Version Not Supported"},
};

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

std::optional<std::string_view> Headers::get(std::string_view name) const {
  for (const auto& [key, value] : items_) {
    if (equal_ignoring_case(key, name)) return value;
  }
  return std::nullopt;
}

void Headers::set(std::string_view name, std::string_view value) {
  remove(name);
  add(name, value);
}

void Headers::add(std::string_view name, std::string_view value) {
  items_.emplace_back(one_line(name), one_line(value));
}

void Headers::remove(std::string_view name) {
  std::erase_if(items_, [&](const auto& item) { return equal_ignoring_case(item.first, name); });
}

std::string Request::param(std::string_view name) const {
  const auto it = params.find(std::string(name));
  return it == params.end() ? "" : it->second;
}

std::optional<std::string> Request::query_value(std::string_view name) const {
  const auto it = query.find(std::string(name));
  return it == query.end() ? std::nullopt : std::optional(it->second);
}

std::optional<std::string> Request::bearer_token() const {
  const auto value = headers.get("Authorization");
  constexpr std::string_view kScheme = "Bearer ";
  if (!value || value->size() <= kScheme.size() ||
      !equal_ignoring_case(value->substr(0, kScheme.size()), kScheme))
    return std::nullopt;
  return std::string(trim(value->substr(kScheme.size())));
}

Result<Json> Request::json() const { return parse_json(body, "the request body"); }

Response Response::json(const Json& value, int status) {
  return {status, {{"Content-Type", "application/json"}}, value.dump() + "\n"};
}

Response Response::text(std::string body, int status) {
  return {status, {{"Content-Type", "text/plain; charset=utf-8"}}, std::move(body)};
}

Response Response::error(const Error& error) {
  Response response =
      json(Json::object({{"error", error_to_json(error)}}), error_http_status(error.code()));
  if (response.status == 503) response.headers.set("Retry-After", "1");
  return response;
}

Response Response::empty(int status) { return {status, {}, ""}; }

Error error_of(const Response& response) {
  if (const auto json = parse_json(response.body, "the answer"); json) {
    if (const Json* error = json->find("error"); error != nullptr && error->is_object())
      return error_from_json(*error);
  }
  const std::string start = response.body.substr(0, 200);
  return {code_of_status(response.status),
          fmt::format("the server answered {} {}{}{}", response.status,
                      reason_phrase(response.status), start.empty() ? "" : ": ",
                      is_utf8(start) ? std::string(trim(start)) : "(binary)")};
}

Result<Json> json_of(const Response& response) {
  if (!response.ok()) return tl::unexpected<Error>(error_of(response));
  if (response.body.empty()) return Json();
  return parse_json(response.body, "the answer");
}

std::string_view reason_phrase(int status) {
  const auto it = std::find_if(kPhrases.begin(), kPhrases.end(),
                               [&](const Phrase& p) { return p.status == status; });
  return it == kPhrases.end() ? "Status" : it->text;
}

}  // namespace consort::http
