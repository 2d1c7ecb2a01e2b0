/* An echo client on libwebsockets: each message must come back as it went, whole or in fragments, and a ping's payload.
 *
 *     client HOST PORT PATH EXTENSION [CA.pem]
 *
 * EXTENSION is what the server's answer must begin with, or "none". With CA.pem the connection is TLS, and the server's
 * certificate is verified against it. Exit code 0 if all is well, including the closing handshake; 1 with words on
 * standard error; a signal after 30 seconds.
 */
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECONDS_MAX = 30, BYTES_MAX = 1 << 20 };

static const struct message {
    enum lws_write_protocol kind;
    size_t bytes;
    size_t fragments;
} MESSAGES[] = {
    { LWS_WRITE_TEXT, 5, 1 },       { LWS_WRITE_BINARY, 125, 1 },   { LWS_WRITE_BINARY, 126, 1 },
    { LWS_WRITE_TEXT, 30000, 3 },   { LWS_WRITE_BINARY, 65536, 1 }, { LWS_WRITE_BINARY, 70000, 7 },
    { LWS_WRITE_BINARY, BYTES_MAX, 1 },
};
enum { COUNT = sizeof MESSAGES / sizeof MESSAGES[0] };

/* With compression, libwebsockets 4.1 breaks down where it is to send an empty message, and gives twice a message that
 * comes uncompressed, as short ones do: then the messages begin with this one. */
enum { FIRST_COMPRESSED = 3 };

static struct {
    size_t message;                  /* which one is under way; COUNT: the ping */
    size_t fragment;                 /* how many fragments of it have gone out */
    size_t received;
    unsigned char input[BYTES_MAX];
    const char *extension;
    int is_over;
    int is_well;
} state;

/* Byte `at` of a message: printable, and different enough that a shifted piece is seen. */
static unsigned char byte_at(size_t at)
{
    return (unsigned char)('a' + (at * 7 + at / 251) % 26);
}

static int fail(const char *words)
{
    fprintf(stderr, "client: message %zu: %s\n", state.message, words);
    state.is_over = 1;
    return -1;
}

/* Sends the next fragment, the ping, or the close. */
static int transmit(struct lws *wsi)
{
    static unsigned char buffer[LWS_PRE + BYTES_MAX];
    unsigned char *payload = buffer + LWS_PRE;
    if (state.message > COUNT)
        return 0;
    if (state.message == COUNT) {
        memcpy(payload, "are you there", 13);
        return lws_write(wsi, payload, 13, LWS_WRITE_PING) < 13 ? fail("the ping was not sent") : 0;
    }
    const struct message *message = &MESSAGES[state.message];
    if (state.fragment == message->fragments)
        return 0;
    size_t piece = message->bytes / message->fragments;
    size_t from = state.fragment * piece;
    int is_last = state.fragment + 1 == message->fragments;
    size_t bytes = is_last ? message->bytes - from : piece;
    for (size_t at = 0; at < bytes; at++)
        payload[at] = byte_at(from + at);
    int kind = state.fragment == 0 ? (int)message->kind : LWS_WRITE_CONTINUATION;
    if (!is_last)
        kind |= LWS_WRITE_NO_FIN;
    if (lws_write(wsi, payload, bytes, (enum lws_write_protocol)kind) < (int)bytes)
        return fail("it was not sent");
    state.fragment++;
    if (!is_last)
        lws_callback_on_writable(wsi);
    return 0;
}

static int receive(struct lws *wsi, const void *piece, size_t bytes)
{
    if (state.message == COUNT)
        return fail("a message comes that nobody sent");
    const struct message *message = &MESSAGES[state.message];
    if (state.received + bytes > message->bytes)
        return fail("more comes back than went");
    memcpy(state.input + state.received, piece, bytes);
    state.received += bytes;
    if (lws_remaining_packet_payload(wsi) > 0 || !lws_is_final_fragment(wsi))
        return 0;
    if (state.received != message->bytes)
        return fail("less comes back than went");
    if (lws_frame_is_binary(wsi) != (message->kind == LWS_WRITE_BINARY))
        return fail("it comes back as another kind");
    for (size_t at = 0; at < message->bytes; at++)
        if (state.input[at] != byte_at(at))
            return fail("it comes back changed");
    state.message++;
    state.fragment = state.received = 0;
    lws_callback_on_writable(wsi);
    return 0;
}

/* Whether the server agreed to what it should. */
static int check_extension(struct lws *wsi)
{
    char agreed[256] = "none";
    if (lws_hdr_total_length(wsi, WSI_TOKEN_EXTENSIONS) > 0)
        lws_hdr_copy(wsi, agreed, sizeof agreed, WSI_TOKEN_EXTENSIONS);
    if (strncmp(agreed, state.extension, strlen(state.extension)) == 0)
        return 0;
    fprintf(stderr, "client: the server agreed to %s, not to %s\n", agreed, state.extension);
    return fail("the extension is wrong");
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t bytes)
{
    (void)user;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH:
        return check_extension(wsi);
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        lws_callback_on_writable(wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return transmit(wsi);
    case LWS_CALLBACK_CLIENT_RECEIVE:
        return receive(wsi, in, bytes);
    case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
        if (bytes != 13 || memcmp(in, "are you there", 13) != 0)
            return fail("the pong is not the ping's");
        state.message++;
        lws_close_reason(wsi, LWS_CLOSE_STATUS_NORMAL, (unsigned char *)"done", 4);
        return -1;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        return state.message > COUNT ? 0 : fail("the server closes");
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        return fail(in ? in : "it cannot connect");
    case LWS_CALLBACK_CLIENT_CLOSED:
        state.is_well = state.message > COUNT;
        state.is_over = 1;
        return 0;
    default:
        return 0;
    }
}

int main(int count, char **words)
{
    if (count != 5 && count != 6) {
        fprintf(stderr, "usage: client HOST PORT PATH EXTENSION [CA.pem]\n");
        return 2;
    }
    alarm(SECONDS_MAX);
    state.extension = words[4];
    lws_set_log_level(LLL_ERR, NULL);
    const struct lws_protocols protocols[] = { { "echo", on_event, 0, 65536, 0, NULL, 0 }, { 0 } };
    const struct lws_extension extensions[] = {
        { "permessage-deflate", lws_extension_callback_pm_deflate, "permessage-deflate; client_max_window_bits" },
        { 0 },
    };
    struct lws_context_creation_info info = { 0 };
    info.port = CONTEXT_PORT_NO_LISTEN;
    info.protocols = protocols;
    info.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
    info.gid = info.uid = -1;
    if (strcmp(words[4], "none") != 0) {
        info.extensions = extensions;
        state.message = FIRST_COMPRESSED;
    }
    if (count == 6)
        info.client_ssl_ca_filepath = words[5];
    struct lws_context *context = lws_create_context(&info);
    if (!context)
        return 1;
    struct lws_client_connect_info connect = { 0 };
    connect.context = context;
    connect.address = connect.host = words[1];
    connect.port = atoi(words[2]);
    connect.path = words[3];
    connect.local_protocol_name = "echo";
    connect.ssl_connection = count == 6 ? LCCSCF_USE_SSL : 0;
    if (!lws_client_connect_via_info(&connect))
        fail("it cannot connect");
    while (!state.is_over && lws_service(context, 0) >= 0)
        ;
    lws_context_destroy(context);
    return state.is_well ? 0 : 1;
}
