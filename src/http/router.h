// Which handler answers to which method and path. Pure; filled once, then only read.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"
#include "http/responder.h"

namespace consort::http {

using Handler = std::function<void(Request, Responder)>;

inline constexpr std::size_t kStrangerBodyBytes = 64U << 10U;

struct RouteOptions {
  std::optional<std::size_t> body_limit;  // bytes; absent: the server's default
  // Asked with the head alone: who is not welcome may send kStrangerBodyBytes, so that nobody makes
  // the server keep what it would refuse. Empty: everybody is.
  std::function<bool(const Request& head)> welcome{};
};

class Router {
 public:
  // Patterns: "/v1/hosts/{name}" (one segment, decoded), "/ui/{path*}" (all that is left, also
  // nothing). A literal segment wins over a parameter, whatever the order of adding.
  void add(std::string_view method, std::string_view pattern, Handler handler,
           RouteOptions options = {});

  struct Match {
    const Handler* handler = nullptr;  // null: nothing answers
    RouteOptions options;
    std::map<std::string, std::string> params;
    // Of a path that is known, under other methods: what Allow says. Empty: the path is unknown.
    std::vector<std::string> allowed;
  };
  // HEAD is answered by GET's handler.
  [[nodiscard]] Match find(std::string_view method, std::string_view path) const;

 private:
  struct Route {
    std::string method;
    std::vector<std::string> segments;
    Handler handler;
    RouteOptions options;
  };
  std::vector<Route> routes_;  // the more literal first
};

}  // namespace consort::http
