#include "http/router.h"

#include <algorithm>

#include "base/text.h"
#include "http/target.h"

namespace consort::http {
namespace {

bool is_parameter(std::string_view segment) {
  return segment.starts_with('{') && segment.ends_with('}');
}
bool is_rest(std::string_view segment) { return is_parameter(segment) && segment.ends_with("*}"); }
std::string name_of(std::string_view segment) {
  return std::string(segment.substr(1, segment.size() - (is_rest(segment) ? 3 : 2)));
}

// One digit for each segment: literals sort before parameters, these before the rest.
std::string rank(const std::vector<std::string>& segments) {
  std::string out;
  for (const auto& segment : segments)
    out += is_rest(segment) ? '2' : is_parameter(segment) ? '1' : '0';
  return out;
}

bool match(const std::vector<std::string>& pattern, const std::vector<std::string>& path,
           std::map<std::string, std::string>& params) {
  params.clear();
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (is_rest(pattern[i])) {
      std::vector<std::string> rest;
      if (i < path.size()) rest.assign(path.begin() + static_cast<std::ptrdiff_t>(i), path.end());
      auto decoded = percent_decode(join(rest, "/"));
      if (!decoded) return false;
      params[name_of(pattern[i])] = std::move(*decoded);
      return true;
    }
    if (i >= path.size()) return false;
    auto decoded = percent_decode(path[i]);
    if (!decoded) return false;
    if (is_parameter(pattern[i])) {
      if (decoded->empty()) return false;
      params[name_of(pattern[i])] = std::move(*decoded);
    } else if (*decoded != pattern[i]) {
      return false;
    }
  }
  return pattern.size() == path.size();
}

}  // namespace

void Router::add(std::string_view method, std::string_view pattern, Handler handler,
                 RouteOptions options) {
  Route route{std::string(method), split(pattern, '/'), std::move(handler), std::move(options)};
  const auto place = std::upper_bound(
      routes_.begin(), routes_.end(), route,
      [](const Route& a, const Route& b) { return rank(a.segments) < rank(b.segments); });
  routes_.insert(place, std::move(route));
}

Router::Match Router::find(std::string_view method, std::string_view path) const {
  const std::vector<std::string> segments = split(path, '/');
  Match out;
  std::map<std::string, std::string> params;
  for (const Route& route : routes_) {
    if (!match(route.segments, segments, params)) continue;
    if (route.method == method || (method == "HEAD" && route.method == "GET")) {
      return {&route.handler, route.options, std::move(params), {}};
    }
    out.allowed.push_back(route.method);
    if (route.method == "GET") out.allowed.emplace_back("HEAD");
  }
  std::sort(out.allowed.begin(), out.allowed.end());
  out.allowed.erase(std::unique(out.allowed.begin(), out.allowed.end()), out.allowed.end());
  return out;
}

}  // namespace consort::http
