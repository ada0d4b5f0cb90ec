"""What a browser has to know to install the page like a program: https://www.w3.org/TR/appmanifest/."""

from django.http import HttpRequest, JsonResponse
from django.templatetags.static import static
from django.utils.translation import get_language
from django.views.decorators.http import require_GET

PAPER = "#fdfdfc"


@require_GET
def manifest(request: HttpRequest) -> JsonResponse:
    icons = [{"src": static("app-icon.svg"), "sizes": "any", "type": "image/svg+xml"}]
    icons += [
        {"src": static(f"app-icon-{size}.png"), "sizes": f"{size}x{size}", "type": "image/png"} for size in (192, 512)
    ]
    return JsonResponse(
        {
            "id": "/",
            "name": "Parley",
            "lang": get_language(),
            "start_url": "/",
            "scope": "/",
            "display": "standalone",
            "background_color": PAPER,
            "theme_color": PAPER,
            "icons": [{**icon, "purpose": purpose} for icon in icons for purpose in ("any", "maskable")],
        },
        content_type="application/manifest+json",
    )
