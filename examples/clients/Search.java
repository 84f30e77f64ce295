// Searches by words, by photo, or by both: java Search.java WORDS [PHOTO], with "" for no words.
// Needs Java 17 or later and nothing else. SHOP_SEARCH_URL and SHOP_SEARCH_KEY say where the service is and who calls.
// Leaves with 0; 1 where the service says what is wrong with the search; 3 where it cannot answer now.

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;

public final class Search {
    private static final int ATTEMPTS = 3;
    private static final long LONGEST_WAIT_S = 10;
    private static final String URL = environment("SHOP_SEARCH_URL", "http://127.0.0.1:8000");
    // A shop keeps one client for all its searches: it keeps the connections.
    private static final HttpClient CLIENT =
            HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(2)).build();

    public static void main(String[] args) throws InterruptedException {
        // Titles are in any language, whatever the terminal's encoding is.
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        PrintStream err = new PrintStream(System.err, true, StandardCharsets.UTF_8);
        byte[] picture = null;
        try {
            if (args.length > 1) picture = Files.readAllBytes(Path.of(args[1]));
        } catch (IOException error) {
            err.println("Search.java: " + args[1] + " cannot be read");
            System.exit(1);
        }
        HttpResponse<String> answer = null;
        try {
            answer = search(args.length > 0 ? args[0] : "", picture);
        } catch (IOException error) {
            err.println("Search.java: no answer from " + URL);
            System.exit(3);
        }
        if (answer.statusCode() == 200) {
            for (Object one : (List<?>) ((Map<?, ?>) Json.read(answer.body())).get("hits")) {
                Map<?, ?> hit = (Map<?, ?>) one;
                long rank = ((Double) hit.get("rank")).longValue();
                out.println(rank + ". " + hit.get("id") + "  " + ((Map<?, ?>) hit.get("source")).get("title"));
            }
            System.exit(0);
        }
        err.println("Search.java: " + problem(answer));
        System.exit(answer.statusCode() == 429 || answer.statusCode() >= 500 ? 3 : 1);
    }

    /** Asks, and asks again after as long as the service says while it is busy. */
    private static HttpResponse<String> search(String words, byte[] picture) throws IOException, InterruptedException {
        HttpRequest request = request("{\"text\": " + Json.quote(words) + ", \"size\": 5}", picture);
        for (int attempt = 1; ; attempt++) {
            HttpResponse<String> answer = CLIENT.send(request, BodyHandlers.ofString(StandardCharsets.UTF_8));
            boolean busy = answer.statusCode() == 429 || answer.statusCode() == 503;
            if (!busy || attempt == ATTEMPTS) return answer;
            String wait = answer.headers().firstValue("Retry-After").filter(text -> text.matches("\\d{1,4}")).orElse("1");
            Thread.sleep(1000 * Math.min(Long.parseLong(wait), LONGEST_WAIT_S));
        }
    }

    /** JSON, or a form with the same JSON beside the picture. */
    private static HttpRequest request(String query, byte[] picture) throws IOException {
        String boundary = UUID.randomUUID().toString();
        String type = picture == null ? "application/json" : "multipart/form-data; boundary=" + boundary;
        byte[] body = query.getBytes(StandardCharsets.UTF_8);
        if (picture != null) {
            String start = "--" + boundary + "\r\nContent-Disposition: form-data; name=";
            ByteArrayOutputStream form = new ByteArrayOutputStream();
            form.write((start + "\"query\"\r\n\r\n" + query + "\r\n").getBytes(StandardCharsets.UTF_8));
            form.write((start + "\"image\"; filename=\"photo\"\r\n\r\n").getBytes(StandardCharsets.UTF_8));
            form.write(picture);
            form.write(("\r\n--" + boundary + "--\r\n").getBytes(StandardCharsets.UTF_8));
            body = form.toByteArray();
        }
        return HttpRequest.newBuilder(URI.create(URL + "/search"))
                .header("X-API-Key", environment("SHOP_SEARCH_KEY", "none"))
                .header("Content-Type", type)
                .timeout(Duration.ofSeconds(30))
                .POST(HttpRequest.BodyPublishers.ofByteArray(body))
                .build();
    }

    /** The one line of a problem document (RFC 9457); a proxy in between may send something else. */
    private static String problem(HttpResponse<String> answer) {
        try {
            Map<?, ?> found = (Map<?, ?>) Json.read(answer.body());
            return answer.statusCode() + " " + found.get("detail") + " (request " + found.get("request_id") + ")";
        } catch (RuntimeException error) {
            return answer.statusCode() + ", and no problem document";
        }
    }

    private static String environment(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }

    /** Just enough JSON for an answer; a shop has a library for this, such as Jackson. */
    private static final class Json {
        private final String text;
        private int at = 0;

        private Json(String text) {
            this.text = text;
        }

        static Object read(String text) {
            return new Json(text).value();
        }

        static String quote(String text) {
            StringBuilder quoted = new StringBuilder("\"");
            for (char one : text.toCharArray()) {
                if (one == '"' || one == '\\' || one < ' ') quoted.append(String.format("\\u%04x", (int) one));
                else quoted.append(one);
            }
            return quoted.append('"').toString();
        }

        private char next() {
            while (Character.isWhitespace(text.charAt(at))) at++;
            return text.charAt(at);
        }

        private Object value() {
            switch (next()) {
                case '{': return object();
                case '[': return list();
                case '"': return string();
                default:
            }
            int start = at;
            while (at < text.length() && ",]}".indexOf(text.charAt(at)) < 0) at++;
            String word = text.substring(start, at).trim();
            switch (word) {
                case "null": return null;
                case "true": return true;
                case "false": return false;
                default: return Double.valueOf(word);
            }
        }

        private Map<String, Object> object() {
            Map<String, Object> found = new LinkedHashMap<>();
            for (at++; next() != '}'; ) {
                String name = string();
                next(); // the colon
                at++;
                found.put(name, value());
                if (next() == ',') at++;
                next();
            }
            at++;
            return found;
        }

        private List<Object> list() {
            List<Object> found = new ArrayList<>();
            for (at++; next() != ']'; ) {
                found.add(value());
                if (next() == ',') at++;
            }
            at++;
            return found;
        }

        private String string() {
            if (next() != '"') throw new IllegalArgumentException("not JSON at " + at);
            StringBuilder found = new StringBuilder();
            for (at++; text.charAt(at) != '"'; at++) {
                char one = text.charAt(at);
                if (one != '\\') {
                    found.append(one);
                    continue;
                }
                char escaped = text.charAt(++at);
                if (escaped == 'u') {
                    found.append((char) Integer.parseInt(text.substring(at + 1, at + 5), 16));
                    at += 4;
                } else {
                    int known = "bfnrt".indexOf(escaped);
                    found.append(known < 0 ? escaped : "\b\f\n\r\t".charAt(known));
                }
            }
            at++;
            return found.toString();
        }
    }
}
