// The door of the API. Each route is added through it; for each request it finds out who asks
// (access/identify.h) and whether they may (access/decide.h), by the table of actions. A route that
// the table does not name cannot be added. On the loop's thread only.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>

#include "access/audit.h"
#include "access/decide.h"
#include "access/identify.h"
#include "base/time.h"
#include "http/server.h"

namespace consort::controller {

class Shell;

// Who asks, as long as the request lasts.
struct Asker {
  access::Known known;
  // Whether the credential would be believed now: for answers that are given later.
  std::function<bool()> still_believed;
};

inline constexpr Duration kRefusalGrain = minutes(1);

enum class Protection : std::uint8_t {
  tls,  // everybody shows a certificate or a token
  none  // loopback with --insecure: everybody may do everything
};

class Gate {
 public:
  using Handler = std::function<void(const http::Request&, const http::Responder&, const Asker&)>;

  Gate(http::Server& server, Shell& shell, Protection protection, std::string partition)
      : server_(server), shell_(shell), protection_(protection), partition_(std::move(partition)) {}

  // For an action on services the asker is let through when they are a deployer of anything: the
  // handler asks permits() once it knows of which. Precondition: the table names the route.
  void route(std::string_view method, std::string_view pattern, Handler handler,
             const http::RouteOptions& options = {});
  // For handlers that need not know who asks.
  template <class Function>
  requires std::is_invocable_v<Function, const http::Request&, const http::Responder&>
  void route(std::string_view method, std::string_view pattern, Function handler,
             const http::RouteOptions& options = {}) {
    route(method, pattern,
          Handler([handler](const http::Request& request, const http::Responder& responder,
                            const Asker&) { handler(request, responder); }),
          options);
  }

  // Errors: forbidden, unauthenticated, with what would be needed. The audit log tells who was
  // refused what: the same of the same one once in kRefusalGrain, so that nobody fills it by
  // asking.
  [[nodiscard]] Status permits(const access::Known& who, access::Action action,
                               access::Subject subject);
  // For what a handler refuses for another reason than a right that is missing: the same limit.
  void note_refusal(const access::Known& who, access::Action action, const std::string& subject,
                    const std::string& reason);
  [[nodiscard]] Protection protection() const { return protection_; }
  [[nodiscard]] const std::string& partition() const { return partition_; }

 private:
  [[nodiscard]] Result<access::Known> identify(const http::Request& request) const;
  void note_use(const access::Principal& who, const http::Request& request);
  void handle(access::Action action, const Handler& handler, const http::Request& request,
              const http::Responder& responder);

  http::Server& server_;
  Shell& shell_;
  Protection protection_;
  std::string partition_;
  std::map<std::string, Instant> refused_;  // who and what → when that was written down
};

// For the audit log: `who` did `action` to `subject`.
[[nodiscard]] access::AuditNote note_of(const access::Known& who, access::Action action,
                                        std::string subject, Instant now);

}  // namespace consort::controller
