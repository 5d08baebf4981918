#include "http/event_reader.h"

namespace consort::http {

Result<std::vector<Event>> EventReader::feed(std::string_view bytes) {
  std::vector<Event> out;
  buffer_.append(bytes);
  std::size_t start = 0;
  while (true) {
    const auto end = buffer_.find('\n', start);
    if (end == std::string::npos) break;
    std::string_view line = std::string_view(buffer_).substr(start, end - start);
    if (line.ends_with('\r')) line.remove_suffix(1);
    on_line(line, out);
    start = end + 1;
  }
  buffer_.erase(0, start);
  if (buffer_.size() + data_.size() > limit_)
    return fail(ErrorCode::too_large, "an event of the stream is over its limit");
  return out;
}

void EventReader::on_line(std::string_view line, std::vector<Event>& out) {
  if (line.empty()) {
    if (has_data_) {
      data_.pop_back();  // the line end that each data line adds
      out.push_back({name_.empty() ? "message" : name_, last_id_, data_});
    }
    name_.clear();
    data_.clear();
    has_data_ = false;
    return;
  }
  const auto colon = line.find(':');
  const std::string_view field = line.substr(0, colon);
  std::string_view value =
      colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "event") name_ = value;
  if (field == "id" && value.find('\0') == std::string_view::npos) last_id_ = value;
  if (field == "data") {
    data_.append(value).push_back('\n');
    has_data_ = true;
  }
}

}  // namespace consort::http
