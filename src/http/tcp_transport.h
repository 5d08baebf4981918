// Plain TCP. Private to this room.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <memory>

#include "http/transport.h"

namespace consort::http {

[[nodiscard]] std::shared_ptr<Transport> make_tcp_transport(boost::asio::ip::tcp::socket socket);

}  // namespace consort::http
