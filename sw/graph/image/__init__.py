"""`st.image`: images [H, W, C] or [N, H, W, C], named as in TensorFlow 1.x's `tf.image`."""

# ruff: noqa: F401 (a face only passes names on)

from sw.graph.image.boxes import (
    crop_and_resize,
    draw_bounding_boxes,
    extract_glimpse,
    sample_distorted_bounding_box,
)
from sw.graph.image.codecs import (
    adjust_jpeg_quality,
    decode_and_crop_jpeg,
    decode_bmp,
    decode_gif,
    decode_image,
    decode_jpeg,
    decode_png,
    decode_webp,
    encode_jpeg,
    encode_png,
    extract_jpeg_shape,
    is_jpeg,
    random_jpeg_quality,
)
from sw.graph.image.colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_gamma,
    adjust_hue,
    adjust_saturation,
    convert_image_dtype,
    grayscale_to_rgb,
    hsv_to_rgb,
    per_image_standardization,
    random_brightness,
    random_contrast,
    random_hue,
    random_saturation,
    rgb_to_grayscale,
    rgb_to_hsv,
    rgb_to_yiq,
    rgb_to_yuv,
    total_variation,
    yiq_to_rgb,
    yuv_to_rgb,
)
from sw.graph.image.geometry import (
    ResizeMethod,
    central_crop,
    crop_to_bounding_box,
    flip_left_right,
    flip_up_down,
    pad_to_bounding_box,
    random_crop,
    random_flip_left_right,
    random_flip_up_down,
    resize_area,
    resize_bicubic,
    resize_bilinear,
    resize_image_with_crop_or_pad,
    resize_image_with_pad,
    resize_images,
    resize_nearest_neighbor,
    resize_with_crop_or_pad,
    rot90,
    transpose_image,
)
from sw.graph.image.quality import image_gradients, psnr, sobel_edges, ssim, ssim_multiscale
from sw.graph.image.suppression import (
    combined_non_max_suppression,
    non_max_suppression,
    non_max_suppression_overlaps,
    non_max_suppression_padded,
    non_max_suppression_with_scores,
)
from sw.graph.ops.morphology import extract_image_patches

per_image_whitening = per_image_standardization
extract_patches = extract_image_patches
resize = resize_images
transpose = transpose_image
