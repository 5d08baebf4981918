// A blocking HTTP/1.1 client for commands and for worker threads of agents: one connection, used
// again. Thread-safe: requests of several threads wait for each other (use one client per thread
// for parallel ones); cancel() acts at once.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/time.h"
#include "http/message.h"
#include "http/tls.h"

namespace consort::http {

struct ClientOptions {
  Duration connect_timeout = seconds(10);
  Duration timeout = seconds(30);         // of a whole request; request() may say otherwise
  Duration stream_silence = seconds(60);  // an event stream with no byte for so long is dead
  std::size_t max_response_bytes = 64U << 20U;
  // Answers with JSON must come from a Consort server (kApiHeader); else the error unavailable.
  bool only_consort = false;
  // For https://; null: ClientTls::of_this_machine().
  std::shared_ptr<const ClientTls> tls = nullptr;
  std::string how_to_start{};  // the hint where nobody listens, instead of the usual one
  std::string token{};         // sent as "Authorization: Bearer …" when not empty
};

struct Event {
  std::string name;  // "message" when the server gave none
  std::string id;    // of this or the last event that had one
  std::string data;
};

class Client {
 public:
  // "http://127.0.0.1:8440", "https://[::1]:80/base". Errors: invalid_input, unsupported (another
  // scheme).
  [[nodiscard]] static Result<Client> create(std::string_view url, ClientOptions options = {});
  Client(Client&& other) noexcept;
  Client& operator=(Client&&) = delete;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client();

  // `target` starts with '/' and is encoded already. Any status is a Response; error_of() and
  // json_of() (message.h) turn it into an Error or JSON. A request on a connection that the server
  // has closed meanwhile is repeated once on a new one if its method is idempotent. Errors:
  // unavailable (with the URL and how to start a controller), unauthorized (a certificate that one
  // of the two sides does not accept), timeout, too_large, interrupted.
  [[nodiscard]] Result<Response> request(std::string_view method, std::string_view target,
                                         const Headers& headers = {}, std::string_view body = {},
                                         std::optional<Duration> timeout = std::nullopt);
  [[nodiscard]] Result<Response> get(std::string_view target,
                                     std::optional<Duration> timeout = std::nullopt) {
    return request("GET", target, {}, {}, timeout);
  }
  // GET, and its JSON; POST of JSON (or another method), and the JSON of its answer. Errors also as
  // error_of().
  [[nodiscard]] Result<Json> get_json(std::string_view target,
                                      std::optional<Duration> timeout = std::nullopt);
  [[nodiscard]] Result<Json> send_json(std::string_view method, std::string_view target,
                                       const Json& body,
                                       std::optional<Duration> timeout = std::nullopt);

  enum class Next : std::uint8_t { more, stop };
  // Reads server-sent events until the callback says stop or the server ends the stream (both are
  // ok). Errors: as request(); a status other than 2xx is error_of() it. Uses a connection of its
  // own.
  [[nodiscard]] Status stream_events(std::string_view target, std::string_view last_event_id,
                                     const std::function<Next(const Event&)>& on_event);

  // From any thread: the request under way and all later ones end with `interrupted`, until
  // resume().
  void cancel();
  void resume();
  [[nodiscard]] const std::string& url() const;

 private:
  struct Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace consort::http
