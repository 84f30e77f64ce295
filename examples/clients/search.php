<?php
// Searches by words, by photo, or by both: php search.php WORDS [PHOTO], with "" for no words.
// Needs PHP 8.1 or later with its extensions curl and json. SHOP_SEARCH_URL and SHOP_SEARCH_KEY say where the service
// is and who calls. Leaves with 0; 1 where the service says what is wrong with the search; 3 where it cannot answer now.

declare(strict_types=1);

const ATTEMPTS = 3;
const LONGEST_WAIT_S = 10;

/** Asks once: status, body, seconds of Retry-After; status 0 where nothing answers. */
function ask(string $url, string $key, string $words, string $photo): array
{
    $query = json_encode(['text' => $words, 'size' => 5], JSON_THROW_ON_ERROR);
    $headers = ["X-API-Key: $key"];
    $body = ['query' => $query, 'image' => $photo === '' ? null : new CURLFile($photo, null, 'photo')];
    if ($photo === '') {
        $headers[] = 'Content-Type: application/json';
        $body = $query;
    }
    $wait = 1;
    $handle = curl_init("$url/search");
    curl_setopt_array($handle, [
        CURLOPT_POSTFIELDS => $body, // an array becomes a form, a string goes as it is
        CURLOPT_HTTPHEADER => $headers,
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_CONNECTTIMEOUT => 2,
        CURLOPT_TIMEOUT => 30,
        CURLOPT_HEADERFUNCTION => function ($handle, string $line) use (&$wait): int {
            if (preg_match('/^retry-after:\s*(\d+)\s*$/i', $line, $found)) {
                $wait = (int) $found[1];
            }
            return strlen($line);
        },
    ]);
    $answer = curl_exec($handle);
    $status = $answer === false ? 0 : curl_getinfo($handle, CURLINFO_RESPONSE_CODE);
    return [$status, (string) $answer, $wait];
}

/** Asks, and asks again after as long as the service says while it is busy. */
function search(string $url, string $key, string $words, string $photo): array
{
    for ($attempt = 1; ; $attempt++) {
        [$status, $body, $wait] = ask($url, $key, $words, $photo);
        if (!in_array($status, [429, 503], true) || $attempt === ATTEMPTS) {
            return [$status, $body];
        }
        sleep(min($wait, LONGEST_WAIT_S));
    }
}

function complain(string $line, int $code): never
{
    fwrite(STDERR, "search.php: $line\n");
    exit($code);
}

[$words, $photo] = [$argv[1] ?? '', $argv[2] ?? ''];
$url = getenv('SHOP_SEARCH_URL') ?: 'http://127.0.0.1:8000';
if ($photo !== '' && !is_readable($photo)) {
    complain("$photo cannot be read", 1);
}
[$status, $body] = search($url, getenv('SHOP_SEARCH_KEY') ?: 'none', $words, $photo);
if ($status === 0) {
    complain("no answer from $url", 3);
}
$found = json_decode($body, true);
if ($status === 200) {
    foreach ($found['hits'] as $hit) {
        echo "{$hit['rank']}. {$hit['id']}  {$hit['source']['title']}\n";
    }
    exit(0);
}
// A problem document (RFC 9457); a proxy in between may send something else.
$line = isset($found['detail'])
    ? "{$found['status']} {$found['detail']} (request {$found['request_id']})"
    : "$status, and no problem document";
complain($line, $status === 429 || $status >= 500 ? 3 : 1);
