// Takes a stream of server-sent events apart. Pure; bounded. Private to this room.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http/client.h"

namespace consort::http {

class EventReader {
 public:
  // limit: bytes of one event.
  EventReader(std::size_t limit, std::string last_id)
      : limit_(limit), last_id_(std::move(last_id)) {}
  // The events that these bytes complete. Error: too_large.
  [[nodiscard]] Result<std::vector<Event>> feed(std::string_view bytes);

 private:
  void on_line(std::string_view line, std::vector<Event>& out);

  std::size_t limit_;
  std::string last_id_;
  std::string buffer_;
  std::string name_;
  std::string data_;
  bool has_data_ = false;
};

}  // namespace consort::http
