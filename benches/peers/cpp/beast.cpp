// A peer on Boost.Beast: `/echo`, `/ws/TOPIC`, `/pub/TOPIC`, 404 for all else.
//
// As its example chat-multi has it: a message is one buffer that all subscribers share, and each has a queue of them,
// written one after another. On one thread, which Asio is told of, and without type-erased executors; without
// compression, timeouts and fragments. A subscriber that falls behind by WAITING_MAX messages is closed.

#define BOOST_ASIO_DISABLE_THREADS 1
#define BOOST_ERROR_CODE_HEADER_ONLY 1

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iostream>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using tcp = asio::ip::tcp;
using executor = asio::io_context::executor_type;
using tcp_socket = asio::basic_stream_socket<tcp, executor>;
using beast::error_code;

constexpr std::size_t WAITING_MAX = 1 << 16;
constexpr std::size_t MESSAGE_BYTES_MAX = 64 << 20;

struct message {
    std::string bytes;
    bool is_text;
};

class session;
using topic = std::unordered_set<session*>;
static std::unordered_map<std::string, topic> topics;

class session : public std::enable_shared_from_this<session> {
public:
    explicit session(tcp_socket socket) : socket_(std::move(socket)) {
        socket_.next_layer().set_option(tcp::no_delay(true));
    }

    ~session() {
        if (subscribed_) subscribed_->erase(this);
    }

    void run() {
        http::async_read(socket_.next_layer(), buffer_, request_,
                         [self = shared_from_this()](error_code error, std::size_t) {
                             if (!error) self->route();
                         });
    }

    void send(std::shared_ptr<const message> what) {
        if (waiting_.size() == WAITING_MAX) {
            error_code ignored;
            socket_.next_layer().close(ignored);
            return;
        }
        waiting_.push_back(std::move(what));
        if (waiting_.size() == 1 && is_open_) write_next();
    }

private:
    enum class purpose { echo, subscribe, publish };

    void route() {
        const std::string path(request_.target());
        const auto under = [&](const char* start) {
            return path.size() > std::strlen(start) && path.compare(0, std::strlen(start), start) == 0;
        };
        if (path == "/echo") {
            purpose_ = purpose::echo;
        } else if (under("/ws/")) {
            purpose_ = purpose::subscribe;
            subscribed_ = &topics[path.substr(4)];
        } else if (under("/pub/")) {
            purpose_ = purpose::publish;
            published_ = &topics[path.substr(5)];
        } else {
            return not_found();
        }
        websocket::stream_base::timeout none{websocket::stream_base::none(), websocket::stream_base::none(), false};
        socket_.set_option(none);
        socket_.auto_fragment(false);
        socket_.read_message_max(MESSAGE_BYTES_MAX);
        socket_.async_accept(request_, [self = shared_from_this()](error_code error) {
            if (error) return;
            self->is_open_ = true;
            self->request_ = {};
            if (self->subscribed_) self->subscribed_->insert(self.get());
            self->read();
        });
    }

    void not_found() {
        refusal_.result(http::status::not_found);
        refusal_.version(request_.version());
        refusal_.keep_alive(false);
        refusal_.prepare_payload();
        http::async_write(socket_.next_layer(), refusal_, [self = shared_from_this()](error_code, std::size_t) {
            error_code ignored;
            self->socket_.next_layer().shutdown(tcp::socket::shutdown_send, ignored);
        });
    }

    void read() {
        socket_.async_read(buffer_, [self = shared_from_this()](error_code error, std::size_t) {
            if (error) return self->end();
            self->on_message();
        });
    }

    void on_message() {
        switch (purpose_) {
        case purpose::echo:
            socket_.text(socket_.got_text());
            socket_.async_write(buffer_.data(), [self = shared_from_this()](error_code error, std::size_t) {
                if (error) return;
                self->buffer_.clear();
                self->read();
            });
            return;
        case purpose::publish:
            publish(std::make_shared<const message>(
                message{beast::buffers_to_string(buffer_.data()), socket_.got_text()}));
            break;
        case purpose::subscribe:
            break;
        }
        buffer_.clear();
        read();
    }

    void publish(const std::shared_ptr<const message>& what) {
        for (session* subscriber : *published_) subscriber->send(what);
    }

    void write_next() {
        const message& next = *waiting_.front();
        socket_.text(next.is_text);
        socket_.async_write(asio::buffer(next.bytes), [self = shared_from_this()](error_code error, std::size_t) {
            if (error) return self->end();
            self->waiting_.pop_front();
            if (!self->waiting_.empty()) self->write_next();
        });
    }

    /// Leaves the topic at once; what is still under way keeps this alive until it has failed.
    void end() {
        if (subscribed_) subscribed_->erase(this);
        subscribed_ = nullptr;
    }

    websocket::stream<tcp_socket> socket_;
    beast::flat_buffer buffer_;
    http::request<http::empty_body> request_;
    http::response<http::empty_body> refusal_;
    purpose purpose_ = purpose::echo;
    topic* subscribed_ = nullptr;
    topic* published_ = nullptr;
    std::deque<std::shared_ptr<const message>> waiting_;
    bool is_open_ = false;
};

using acceptor = asio::basic_socket_acceptor<tcp, executor>;

static void accept(acceptor& listener) {
    listener.async_accept([&listener](error_code error, tcp_socket socket) {
        if (!error) std::make_shared<session>(std::move(socket))->run();
        accept(listener);
    });
}

int main(int count, char** arguments) {
    std::uint16_t port = 8090;
    if (count == 3 && std::strcmp(arguments[1], "--port") == 0) {
        port = static_cast<std::uint16_t>(std::atoi(arguments[2]));
    } else if (count != 1) {
        std::cerr << "usage: beast [--port P]\n";
        return 2;
    }
    try {
        asio::io_context context{1};
        acceptor listener{context, tcp::endpoint{asio::ip::address_v4::loopback(), port}};
        listener.listen(4096);
        accept(listener);
        context.run();
    } catch (const std::exception& fault) {
        std::cerr << "beast: " << fault.what() << '\n';
        return 1;
    }
}
